// Package netx is the edge of the S3 listener below HTTP: sockets to listen on, an accept loop that does not
// die, a cap on connections that is answered and not reset, deadlines that measure progress instead of
// duration, and sendfile from shared file handles.
package netx

// Package gateway puts the parts together: configuration to components, the S3 and the admin
// listener, and the object service that turns a typed S3 operation into work on the cache and the
// upstreams.
//
// The way of a request: server.go (the HTTP rim, the only place that sees fiber) copies it into an
// s3api.Request; service.go authenticates, types, authorises and dispatches it; read.go, write.go, list.go
// and their neighbours do the work; errors.go maps what went wrong to an S3 error, once.
package gateway

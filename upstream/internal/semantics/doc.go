// Package semantics holds the rules of S3 that a driver has to apply itself when it keeps the objects
// (in memory, on a disk) instead of passing requests on to an S3 service: how a body is taken in and
// verified, how parts become an object, which range a read selects, and how keys become one page of
// a listing. It does no I/O of its own.
//
// Every error it returns is an *upstream.Error, except an error of the destination that Ingest
// writes to, which is returned as it is.
package semantics

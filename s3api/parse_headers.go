package s3api

// metaPrefix starts the names of headers that hold user metadata.
const metaPrefix = "x-amz-meta-"

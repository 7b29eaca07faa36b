package s3api

type payloadMode int

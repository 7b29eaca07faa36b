package s3api

// Codes of the body's framing. Names, statuses and messages are what the service answers.
const (
	ErrInvalidChunkSizeError ErrorCode = "InvalidChunkSizeError"
	ErrMalformedTrailerError ErrorCode = "MalformedTrailerError"
)

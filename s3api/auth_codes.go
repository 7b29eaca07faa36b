package s3api

import "maps"

// Codes of the body's framing. Names, statuses and messages are what the service answers.
const (
	ErrInvalidChunkSizeError ErrorCode = "InvalidChunkSizeError"
	ErrMalformedTrailerError ErrorCode = "MalformedTrailerError"
)

func init() {
	maps.Copy(codeTable, map[ErrorCode]codeInfo{
		ErrInvalidChunkSizeError: {403, "Only the last chunk is allowed to have a size less than 8192 bytes"},
		ErrMalformedTrailerError: {400, "The request contained trailing data that was not well-formed or did not conform to our published schema."},
	})
}

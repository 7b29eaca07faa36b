package prefetch

// AccessHint is what a client says of its reads.
type AccessHint uint8

// The access hints.
const (
	HintNone AccessHint = iota
	HintSequential
	HintRandom
	HintColumnar
	HintWhole // all of the object will be read
	HintOnce  // nothing will be read again, and nothing is to be fetched ahead
)

// Hint is what a client says of one read and those to come on the same object.
type Hint struct {
	Access AccessHint
	Window int64 // bytes ahead of the reader; 0: none was named
}

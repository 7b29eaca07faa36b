package fault

import "unistore/upstream"

// The optional abilities, as bits.
const (
	hasBuckets = 1 << iota
	hasMultipart
	hasCopy
	hasBatch
)

// abilities are the wrappers of the optional abilities; have says which of them are real.
type abilities struct {
	have int
	b    *buckets
	m    *multipart
	c    *copies
	d    *batches
}

func abilitiesOf(w *wrapper) abilities {
	var a abilities
	if in, ok := w.inner.(upstream.Bucketer); ok {
		a.have |= hasBuckets
		a.b = &buckets{w, in}
	}
	if in, ok := w.inner.(upstream.Multiparter); ok {
		a.have |= hasMultipart
		a.m = &multipart{w, in}
	}
	if in, ok := w.inner.(upstream.Copier); ok {
		a.have |= hasCopy
		a.c = &copies{w, in}
	}
	if in, ok := w.inner.(upstream.BatchDeleter); ok {
		a.have |= hasBatch
		a.d = &batches{w, in}
	}
	return a
}

// compose returns a value whose method set is that of w and of the abilities it has, no more: callers
// find abilities by type assertion, and only distinct types differ there.
func compose(w *wrapper, a abilities) upstream.Backend {
	if a.have&hasBatch != 0 {
		return composeBatch(w, a)
	}
	switch a.have {
	case hasBuckets:
		return struct {
			*wrapper
			*buckets
		}{w, a.b}
	case hasMultipart:
		return struct {
			*wrapper
			*multipart
		}{w, a.m}
	case hasBuckets | hasMultipart:
		return struct {
			*wrapper
			*buckets
			*multipart
		}{w, a.b, a.m}
	case hasCopy:
		return struct {
			*wrapper
			*copies
		}{w, a.c}
	case hasBuckets | hasCopy:
		return struct {
			*wrapper
			*buckets
			*copies
		}{w, a.b, a.c}
	case hasMultipart | hasCopy:
		return struct {
			*wrapper
			*multipart
			*copies
		}{w, a.m, a.c}
	case hasBuckets | hasMultipart | hasCopy:
		return struct {
			*wrapper
			*buckets
			*multipart
			*copies
		}{w, a.b, a.m, a.c}
	default:
		return w
	}
}

// composeBatch is compose for those with batch deletes.
func composeBatch(w *wrapper, a abilities) upstream.Backend {
	switch a.have &^ hasBatch {
	case hasBuckets:
		return struct {
			*wrapper
			*buckets
			*batches
		}{w, a.b, a.d}
	case hasMultipart:
		return struct {
			*wrapper
			*multipart
			*batches
		}{w, a.m, a.d}
	case hasBuckets | hasMultipart:
		return struct {
			*wrapper
			*buckets
			*multipart
			*batches
		}{w, a.b, a.m, a.d}
	case hasCopy:
		return struct {
			*wrapper
			*copies
			*batches
		}{w, a.c, a.d}
	case hasBuckets | hasCopy:
		return struct {
			*wrapper
			*buckets
			*copies
			*batches
		}{w, a.b, a.c, a.d}
	case hasMultipart | hasCopy:
		return struct {
			*wrapper
			*multipart
			*copies
			*batches
		}{w, a.m, a.c, a.d}
	case hasBuckets | hasMultipart | hasCopy:
		return struct {
			*wrapper
			*buckets
			*multipart
			*copies
			*batches
		}{w, a.b, a.m, a.c, a.d}
	default:
		return struct {
			*wrapper
			*batches
		}{w, a.d}
	}
}

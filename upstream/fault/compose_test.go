package fault

import (
	"testing"

	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/mem"
)

// narrowed returns b with the abilities in have, and no others.
func narrowed(b *mem.Backend, have int) upstream.Backend {
	switch have {
	case hasBuckets:
		return struct {
			upstream.Backend
			upstream.Bucketer
		}{b, b}
	case hasMultipart:
		return struct {
			upstream.Backend
			upstream.Multiparter
		}{b, b}
	case hasBuckets | hasMultipart:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Multiparter
		}{b, b, b}
	case hasCopy:
		return struct {
			upstream.Backend
			upstream.Copier
		}{b, b}
	case hasBuckets | hasCopy:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Copier
		}{b, b, b}
	case hasMultipart | hasCopy:
		return struct {
			upstream.Backend
			upstream.Multiparter
			upstream.Copier
		}{b, b, b}
	case hasBuckets | hasMultipart | hasCopy:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Multiparter
			upstream.Copier
		}{b, b, b, b}
	case hasBatch:
		return struct {
			upstream.Backend
			upstream.BatchDeleter
		}{b, b}
	case hasBuckets | hasBatch:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.BatchDeleter
		}{b, b, b}
	case hasMultipart | hasBatch:
		return struct {
			upstream.Backend
			upstream.Multiparter
			upstream.BatchDeleter
		}{b, b, b}
	case hasBuckets | hasMultipart | hasBatch:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Multiparter
			upstream.BatchDeleter
		}{b, b, b, b}
	case hasCopy | hasBatch:
		return struct {
			upstream.Backend
			upstream.Copier
			upstream.BatchDeleter
		}{b, b, b}
	case hasBuckets | hasCopy | hasBatch:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Copier
			upstream.BatchDeleter
		}{b, b, b, b}
	case hasMultipart | hasCopy | hasBatch:
		return struct {
			upstream.Backend
			upstream.Multiparter
			upstream.Copier
			upstream.BatchDeleter
		}{b, b, b, b}
	case hasBuckets | hasMultipart | hasCopy | hasBatch:
		return struct {
			upstream.Backend
			upstream.Bucketer
			upstream.Multiparter
			upstream.Copier
			upstream.BatchDeleter
		}{b, b, b, b, b}
	default:
		return struct{ upstream.Backend }{b}
	}
}

func haveOf(b upstream.Backend) (have int) {
	if _, ok := b.(upstream.Bucketer); ok {
		have |= hasBuckets
	}
	if _, ok := b.(upstream.Multiparter); ok {
		have |= hasMultipart
	}
	if _, ok := b.(upstream.Copier); ok {
		have |= hasCopy
	}
	if _, ok := b.(upstream.BatchDeleter); ok {
		have |= hasBatch
	}
	return have
}

func TestWrapKeepsExactlyTheAbilities(t *testing.T) {
	for have := range 16 {
		inner := narrowed(mem.New(mem.Config{}), have)
		if got := haveOf(inner); got != have {
			t.Fatalf("the test's own backend has abilities %04b, want %04b", got, have)
		}
		if got := haveOf(Wrap(inner, "test", faults.New(nil))); got != have {
			t.Errorf("abilities %04b, want %04b", got, have)
		}
	}
}

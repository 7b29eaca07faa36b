package gateway

import (
	"errors"
	"strings"
	"testing"

	"unistore/s3api"
	"unistore/upstream"
)

func TestGapsAreExplained(t *testing.T) {
	invalid := &upstream.Error{Code: upstream.InvalidPart, Op: "CompleteUpload"}
	gone := &upstream.Error{Code: upstream.NoUpload, Op: "CompleteUpload"}
	list := func(numbers ...int) (parts []upstream.Part) {
		for _, n := range numbers {
			parts = append(parts, upstream.Part{Number: n})
		}
		return parts
	}
	for name, c := range map[string]struct {
		contiguous bool
		parts      []upstream.Part
		err        error
		explained  bool
	}{
		"gaps":            {true, list(1, 3), invalid, true},
		"not from 1":      {true, list(2, 3), invalid, true},
		"no gaps":         {true, list(1, 2), invalid, false},
		"another store":   {false, list(1, 3), invalid, false},
		"another failure": {true, list(1, 3), gone, false},
		"nothing":         {true, nil, invalid, false},
	} {
		err := explainGaps(upstream.Limits{ContiguousParts: c.contiguous}, c.parts, c.err)
		e, ok := errors.AsType[*s3api.Error](err)
		if ok != c.explained || (!ok && !errors.Is(err, c.err)) {
			t.Errorf("%s: %v", name, err)
		}
		if ok && (e.Code != s3api.ErrInvalidPart || !strings.Contains(e.Message, "without gaps") || !strings.Contains(e.Message, "2 parts")) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

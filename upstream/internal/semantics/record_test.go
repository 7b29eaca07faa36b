package semantics

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// TestParseRecordChecksParts: a record whose parts cannot be those of its file is none.
func TestParseRecordChecksParts(t *testing.T) {
	tests := map[string]struct {
		size  int64
		parts [][2]int64
		ok    bool
	}{
		"none":              {12, nil, true},
		"one":               {12, [][2]int64{{1, 12}}, true},
		"runs":              {12, [][2]int64{{2, 5}, {1, 2}}, true},
		"an empty object":   {0, [][2]int64{{1, 0}}, true},
		"an empty last":     {5, [][2]int64{{1, 5}, {1, 0}}, true},
		"as many as can be": {10_001, [][2]int64{{9_999, 1}, {1, 2}}, true},
		"one too many":      {10_001, [][2]int64{{9_999, 1}, {2, 1}}, false},
		"empty ones":        {0, [][2]int64{{math.MaxInt64, 0}}, false},
		"a run of none":     {12, [][2]int64{{0, 5}, {1, 12}}, false},
		"fewer than none":   {12, [][2]int64{{-1, 12}, {2, 12}}, false},
		"a negative size":   {12, [][2]int64{{1, -1}, {1, 13}}, false},
		"too little":        {12, [][2]int64{{2, 5}}, false},
		"too much":          {12, [][2]int64{{2, 5}, {1, 3}}, false},
		"overflow":          {2, [][2]int64{{4, math.MaxInt64/2 + 1}, {1, 2}}, false},
		"counts overflow":   {2, [][2]int64{{math.MaxInt64, 0}, {math.MaxInt64, 0}, {2, 1}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stamp := Stamp{Size: test.size, MTime: 1, Inode: 2}
			r := Record{ETag: "e", Parts: test.parts}
			r.Describe(stamp)
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			got := ParseRecord(data, stamp)
			if (got != nil) != test.ok {
				t.Fatalf("%s is %+v", data, got)
			}
			if got != nil && !slices.Equal(KeepParts(got.PartSizes()), test.parts) {
				t.Errorf("parts %v, want %v", got.Parts, test.parts)
			}
		})
	}
}

package config

import (
	"math"
	"testing"
)

func TestParseSize(t *testing.T) {
	good := map[string]int64{
		"0": 0, "17": 17, "1B": 1, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "10 GiB": 10 << 30, "2TiB": 2 << 40, "1PiB": 1 << 50,
		"1KB": 1000, "2.5MB": 2500000, "3GB": 3e9, "1TB": 1e12, "9223372036854775807": math.MaxInt64, "0.5KiB": 512,
	}
	for s, want := range good {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "-1", "+1", "1.", ".5", "1.2.3", "1e3", "0x10", "1K", "1kib", "1 Gib", "1GiB ", "0.3KiB", "9223372036854775808", "8192PiB",
		"9999999999999999999999999999999999999", "MiB", "1MiB/s", "١MiB",
	} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, got)
		}
	}
	if got, err := ParseRate("50MiB/s"); err != nil || got != 50<<20 {
		t.Errorf("ParseRate = %d, %v", got, err)
	}
	for _, s := range []string{"-1s", "1", "", "1 s", "1d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, got)
		}
	}
}

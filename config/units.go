package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const units = "B, KiB, MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB"

var unitBytes = map[string]int64{
	"": 1, "B": 1,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
}

// ParseSize reads a number of bytes: 10GiB, 1.5MiB, 4096. Units are case-sensitive, as K and k, B and b
// mean different things to different people.
func ParseSize(s string) (int64, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	number, unit := s[:end], strings.TrimLeft(s[end:], " ")
	if number == "" || number[0] == '.' || number[len(number)-1] == '.' || len(number) > 32 {
		return 0, errors.New("is not a size; write a number and a unit, such as 10GiB (" + units + ")")
	}
	factor, ok := unitBytes[unit]
	if !ok {
		return 0, fmt.Errorf("has an unknown unit %q; allowed are %s", clip(unit), units)
	}
	value, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errors.New("is not a size; write a number and a unit, such as 10GiB (" + units + ")")
	}
	value.Mul(value, new(big.Rat).SetInt64(factor))
	if !value.IsInt() {
		return 0, errors.New("is not a whole number of bytes")
	}
	if !value.Num().IsInt64() {
		return 0, errors.New("is too large; the limit is 8191PiB")
	}
	return value.Num().Int64(), nil
}

// ParseRate reads bytes a second: 50MiB/s.
func ParseRate(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	size, ok := strings.CutSuffix(s, "/s")
	if !ok {
		return 0, errors.New("is not a rate; write a size a second, such as 50MiB/s")
	}
	return ParseSize(size)
}

// ParseDuration reads a duration that is not negative: 60s, 1m30s, 200ms, 24h.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("is not a duration; write a number and a unit, such as 60s (ns, us, ms, s, m, h)")
	}
	return d, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

func parseInt(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("is not a whole number; allowed is %d to %d", low, high)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("is out of range; allowed is %d to %d", low, high)
	}
	return n, nil
}

func parseFraction(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) {
		return 0, errors.New("is not a number; allowed is 0 to 1")
	}
	if f < 0 || f > 1 {
		return 0, errors.New("is out of range; allowed is 0 to 1")
	}
	return f, nil
}

// clip shortens what an error repeats of its input.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

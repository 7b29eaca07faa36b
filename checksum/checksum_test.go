package checksum

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// sum is the checksum of data by New and Encode.
func sum(t testing.TB, alg string, data []byte) string {
	t.Helper()
	h, ok := New(alg)
	if !ok {
		t.Fatalf("New(%q) is unknown", alg)
	}
	_, _ = h.Write(data)
	return Encode(h)
}

// The check values of "123456789" of the CRCs are those of the CRC catalogue (reveng).
func TestKnownValues(t *testing.T) {
	tests := []struct{ alg, empty, digits string }{
		{CRC32, "AAAAAA==", "y/Q5Jg=="},
		{CRC32C, "AAAAAA==", "4waSgw=="},
		{CRC64NVME, "AAAAAAAAAAA=", "rosUhgp5mIg="},
		{SHA1, "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "98O8HYCOBHMq32eZZczDTKeuNEE="},
		{SHA256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="},
	}
	for _, tt := range tests {
		if got := sum(t, tt.alg, nil); got != tt.empty {
			t.Errorf("%s of nothing = %s, want %s", tt.alg, got, tt.empty)
		}
		if got := sum(t, strings.ToLower(tt.alg), []byte("123456789")); got != tt.digits {
			t.Errorf("%s of digits = %s, want %s", tt.alg, got, tt.digits)
		}
	}
	if len(tests) != len(Algorithms) {
		t.Errorf("%d algorithms tested of %d", len(tests), len(Algorithms))
	}
}

func TestHeaders(t *testing.T) {
	for _, alg := range Algorithms {
		h := Header(alg)
		if h != "x-amz-checksum-"+strings.ToLower(alg) {
			t.Errorf("Header(%s) = %q", alg, h)
		}
		if got, ok := FromHeader(h); !ok || got != alg {
			t.Errorf("FromHeader(%q) = %q, %v", h, got, ok)
		}
	}
	for _, name := range []string{"", "x-amz-checksum-", "x-amz-checksum-type", "x-amz-checksum-md5", "X-Amz-Checksum-Crc32", "crc32"} {
		if alg, ok := FromHeader(name); ok {
			t.Errorf("FromHeader(%q) = %q", name, alg)
		}
	}
	if Header("MD5") != "" {
		t.Error("Header of an unknown algorithm")
	}
	if _, ok := New("MD5"); ok {
		t.Error("New of an unknown algorithm")
	}
}

func TestValid(t *testing.T) {
	tests := []struct {
		alg, value string
		want       bool
	}{
		{CRC32, "y/Q5Jg==", true},
		{"crc32", "y/Q5Jg==", true},
		{CRC32, "", false},
		{CRC32, "y/Q5Jg", false},
		{CRC32, "y/Q5Jh==", false}, // bits set in the padding
		{CRC32, "y/Q5\nJg==", false},
		{CRC32, "y_Q5Jg==", false},
		{CRC32, "y/Q5Jg==-3", false},
		{CRC32, "AAAAAAAAAAA=", false},
		{CRC64NVME, "y/Q5Jg==", false},
		{"MD5", "1B2M2Y8AsgTpgAmY7PhCfg==", false},
	}
	for _, tt := range tests {
		if got := Valid(tt.alg, tt.value); got != tt.want {
			t.Errorf("Valid(%q, %q) = %v", tt.alg, tt.value, got)
		}
	}
}

func TestComposite(t *testing.T) {
	for _, alg := range []string{CRC32, CRC32C, SHA1, SHA256} {
		raw := []byte{}
		parts := []string{sum(t, alg, []byte("one")), sum(t, alg, []byte("two")), sum(t, alg, nil)}
		for _, p := range parts {
			b, err := Decode(alg, p)
			if err != nil {
				t.Fatal(err)
			}
			raw = append(raw, b...)
		}
		got, err := Composite(alg, parts)
		if want := sum(t, alg, raw) + "-3"; err != nil || got != want {
			t.Errorf("Composite(%s) = %q, %v, want %q", alg, got, err, want)
		}
	}
	bad := []struct {
		alg   string
		parts []string
	}{
		{CRC64NVME, []string{"AAAAAAAAAAA="}},
		{"MD5", []string{"AAAA"}},
		{CRC32, nil},
		{CRC32, []string{"y/Q5Jg==", "nonsense"}},
	}
	for _, tt := range bad {
		if got, err := Composite(tt.alg, tt.parts); !errors.Is(err, ErrInvalid) {
			t.Errorf("Composite(%s, %q) = %q, %v", tt.alg, tt.parts, got, err)
		}
	}
}

func TestCombine(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, alg := range []string{CRC32, CRC32C, CRC64NVME} {
		for i := range 200 {
			data := make([]byte, rnd.IntN(5000))
			for j := range data {
				data[j] = byte(rnd.Uint32())
			}
			cut := 0
			if len(data) > 0 && i > 2 {
				cut = rnd.IntN(len(data) + 1)
			}
			got, err := Combine(alg, sum(t, alg, data[:cut]), sum(t, alg, data[cut:]), int64(len(data)-cut))
			if want := sum(t, alg, data); err != nil || got != want {
				t.Fatalf("%s of %d at %d: %q, %v, want %q", alg, len(data), cut, got, err, want)
			}
		}
	}
}

// A CRC is associative in its combination, whatever the lengths: lengths that no test can hash are checked this way.
func TestCombineLong(t *testing.T) {
	const n2, n3 = 5<<40 + 12345, 1<<41 + 7
	for _, alg := range []string{CRC32, CRC32C, CRC64NVME} {
		a, b, c := sum(t, alg, []byte("a")), sum(t, alg, []byte("bb")), sum(t, alg, []byte("ccc"))
		combine := func(x, y string, n int64) string {
			s, err := Combine(alg, x, y, n)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		left := combine(combine(a, b, n2), c, n3)
		right := combine(a, combine(b, c, n3), n2+n3)
		if left != right {
			t.Errorf("%s: %s != %s", alg, left, right)
		}
	}
}

func TestCombineErrors(t *testing.T) {
	tests := []struct {
		alg, a, b string
		n         int64
	}{
		{SHA256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 1},
		{"MD5", "AAAA", "AAAA", 1},
		{CRC32, "AAAAAA==", "AAAAAA==", -1},
		{CRC32, "AAAA", "AAAAAA==", 1},
		{CRC32, "AAAAAA==", "AAAA", 1},
	}
	for _, tt := range tests {
		if got, err := Combine(tt.alg, tt.a, tt.b, tt.n); !errors.Is(err, ErrInvalid) {
			t.Errorf("Combine(%v) = %q, %v", tt, got, err)
		}
	}
}

package checksum

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// Combine returns the CRC of A followed by B from crc1 of A and crc2 of B, both base64, where len2 is B's length
// in bytes. It takes O(log len2) steps. Only the CRC algorithms combine.
func Combine(alg, crc1, crc2 string, len2 int64) (string, error) {
	a := find(alg)
	if a == nil || a.poly == 0 {
		return "", fmt.Errorf("%w: %q does not combine", ErrInvalid, alg)
	}
	if len2 < 0 {
		return "", fmt.Errorf("%w: negative length", ErrInvalid)
	}
	sum1, err := Decode(alg, crc1)
	if err != nil {
		return "", err
	}
	sum2, err := Decode(alg, crc2)
	if err != nil {
		return "", err
	}
	f := field{poly: a.poly, one: 1 << (8*a.size - 1)}
	c := f.mul(f.shift(len2), toUint(sum1)) ^ toUint(sum2)
	var out [8]byte
	binary.BigEndian.PutUint64(out[:], c)
	return base64.StdEncoding.EncodeToString(out[8-a.size:]), nil
}

func toUint(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// field is the polynomials over GF(2) modulo a CRC's, in the reflected order that the CRCs use: the highest bit is the
// coefficient of x^0. Appending n zero bits to a message multiplies its CRC by x^n; the initial and
// final inversion of the CRCs cancel out in Combine.
type field struct {
	poly, one uint64
}

// mul returns a*b modulo the polynomial.
func (f field) mul(a, b uint64) uint64 {
	var product uint64
	for m := f.one; m != 0; m >>= 1 {
		if a&m != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ f.poly
		} else {
			b >>= 1
		}
	}
	return product
}

// shift returns x^(8n) modulo the polynomial.
func (f field) shift(n int64) uint64 {
	power, square := f.one, f.one>>8 // x^0, x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			power = f.mul(power, square)
		}
		square = f.mul(square, square)
	}
	return power
}

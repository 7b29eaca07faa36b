package upstream

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"unistore/object"
)

// What a store says that it has taken is compared with what was sent. It says so by the checksum that came
// with the bytes, or by an ETag that is their MD5. The MD5 is computed here only where nothing cheaper tells:
// the request has none, and neither does the store return checksums nor the driver find out by itself.

// What is known of a store's answers to bytes that came with a checksum.
const (
	vouchUnknown int32 = iota
	vouchYes           // so far they all had the checksum
	vouchNo            // one had not
)

// trust is what a Store knows of the words of its store.
type trust struct {
	opaqueETags bool         // StoreConfig.OpaqueETags
	driver      BodyVerifier // or nil
	put, part   atomic.Int32 // vouchUnknown, ...: the answers to Put and UploadPart
}

// witness is what this process knows of a body, to hold against the store's words.
type witness struct {
	trust    *trust
	vouch    *atomic.Int32
	md5      string // hex, that came with the request; or empty
	checksum *object.Checksum
	trailing func() []object.Checksum
	promised bool // there is a checksum, now or in the trailer
	hash     bool // the MD5 is to be computed
}

func (t *trust) ofPut(req PutRequest) *witness {
	w := &witness{
		trust: t, vouch: &t.put, md5: hexMD5(req.MD5), checksum: req.Checksum, trailing: req.Trailing,
		promised: req.Checksum != nil || req.TrailingAlgorithm != "",
	}
	w.hash = w.md5 == "" && (!w.vouched() || req.IfMatch != "" || req.IfNoneMatch) // see Store.landed
	return w
}

func (t *trust) ofPart(req PartRequest) *witness {
	w := &witness{
		trust: t, vouch: &t.part, md5: hexMD5(req.MD5), checksum: req.Checksum, trailing: req.Trailing,
		promised: req.Checksum != nil || req.TrailingAlgorithm != "",
	}
	w.hash = w.md5 == "" && !w.vouched()
	return w
}

// vouched reports whether the body will be looked after without its MD5.
func (w *witness) vouched() bool {
	if w.promised {
		return w.vouch.Load() == vouchYes
	}
	return w.trust.driver != nil && w.trust.driver.VerifiesBodies()
}

// hexMD5 is a Content-MD5 as an ETag has it; empty for what is none.
func hexMD5(base64MD5 string) string {
	raw, err := base64.StdEncoding.DecodeString(base64MD5)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(raw)
}

// sum is the MD5 of u's body as far as it is known, in hex.
func (w *witness) sum(u *upload) string {
	if w.md5 != "" || u == nil {
		return w.md5
	}
	return u.digest()
}

// words are what a store says of the bytes it took.
type words struct {
	etag      string
	etagMD5   bool
	checksums []object.Checksum
}

// check compares the store's words with the whole body that u has delivered: Corrupted when they differ.
func (w *witness) check(op string, u *upload, said words) error {
	if !u.body.Done() {
		return nil // which is a failure of its own
	}
	if err := w.checkSums(op, said.checksums); err != nil {
		return err
	}
	sum := w.sum(u)
	if sum == "" || !said.etagMD5 || w.trust.opaqueETags || strings.EqualFold(said.etag, sum) {
		return nil
	}
	return Errorf(Corrupted, op, "the store says MD5 %s of bytes whose MD5 is %s", said.etag, sum)
}

// checkPut is check for a whole object, whose size is told too.
func (w *witness) checkPut(u *upload, attrs object.Attrs) error {
	if u.body.Done() && attrs.Size != u.body.Size() {
		return Errorf(Corrupted, "Put", "the store says %d bytes of an object of %d", attrs.Size, u.body.Size())
	}
	return w.check("Put", u, words{attrs.ETag, attrs.ETagMD5, attrs.Checksums})
}

func (w *witness) checkSums(op string, said []object.Checksum) error {
	if !w.promised {
		return nil
	}
	var ours []object.Checksum
	if w.checksum != nil {
		ours = append(ours, *w.checksum)
	}
	if w.trailing != nil {
		ours = append(ours, w.trailing()...)
	}
	found := false
	for _, our := range ours {
		for _, c := range said {
			if c.Algorithm != our.Algorithm {
				continue
			}
			found = true
			if c.Value != our.Value {
				return Errorf(Corrupted, op, "the store says %s %s of bytes whose checksum is %s", c.Algorithm, c.Value, our.Value)
			}
		}
	}
	if found {
		w.vouch.CompareAndSwap(vouchUnknown, vouchYes)
	} else {
		w.vouch.Store(vouchNo)
	}
	return nil
}

// checkCompleted compares what the store says of an object with the parts that it was made of. A size of 0 is not said.
func (t *trust) checkCompleted(attrs object.Attrs, req CompleteRequest) error {
	const op = "CompleteUpload"
	for _, c := range attrs.Checksums {
		if p := req.Checksum; p != nil && contradict(*p, c) {
			return Errorf(Corrupted, op, "the store says %s %s of an object whose checksum is %s", c.Algorithm, c.Value, p.Value)
		}
	}
	if size, known := sizeOf(req.Parts); known && attrs.Size != 0 && attrs.Size != size {
		return Errorf(Corrupted, op, "the store says %d bytes of an object whose parts have %d", attrs.Size, size)
	}
	if t.opaqueETags {
		return nil
	}
	if m := partsETag.FindStringSubmatch(attrs.ETag); m != nil && m[1] != strconv.Itoa(len(req.Parts)) {
		return Errorf(Corrupted, op, "the store says ETag %s of an object of %d parts", attrs.ETag, len(req.Parts))
	}
	want := multipartETag(req.Parts)
	if want == "" || !attrs.ETagMD5 || strings.EqualFold(attrs.ETag, want) {
		return nil
	}
	return Errorf(Corrupted, op, "the store says ETag %s of an object whose parts make %s", attrs.ETag, want)
}

// partsETag is the form that S3 gives the ETag of an object made of parts; other stores have others.
var partsETag = regexp.MustCompile(`^[0-9a-fA-F]{32}-([0-9]+)$`)

// sizeOf is the size that parts make, if that of each is known (0 is not).
func sizeOf(parts []Part) (total int64, known bool) {
	for _, p := range parts {
		if p.Size <= 0 {
			return 0, false
		}
		total += p.Size
	}
	return total, true
}

// contradict reports whether two checksums can not be of one object. Only those of one algorithm and one type can
// be compared; "-N" at the end of a composite one may be left out.
func contradict(a, b object.Checksum) bool {
	av, an, _ := strings.Cut(a.Value, "-")
	bv, bn, _ := strings.Cut(b.Value, "-")
	if a.Algorithm != b.Algorithm || checksumType(a, an) != checksumType(b, bn) {
		return false
	}
	return av != bv || (an != "" && bn != "" && an != bn)
}

// checksumType is what "-N", if it is there, says of a checksum, or else its Type.
func checksumType(c object.Checksum, n string) string {
	if n != "" {
		return "COMPOSITE"
	}
	return c.Type
}

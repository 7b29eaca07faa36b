package upstream

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"unistore/object"
)

// Multipart reports whether the store has multipart uploads of its own.
func (s *Store) Multipart() bool { return s.multiparter != nil }

// CreateUpload is Multiparter.CreateUpload. It is not repeated once the store may have acted on it: that
// would leave an upload that nobody knows.
func (s *Store) CreateUpload(ctx context.Context, loc Loc, req CreateUploadRequest) (string, error) {
	if s.multiparter == nil {
		return "", unsupported("CreateUpload")
	}
	return do(ctx, s, s.once("CreateUpload"), func(a *attempt) (string, error) {
		return s.multiparter.CreateUpload(a.ctx, loc, req)
	})
}

// UploadPart is Multiparter.UploadPart. If req.Body fails, its error is in the chain of the result. A part whose
// Body is a Replayer is sent again after a transient failure: it replaces itself. When the store says that it
// took other bytes than Body's, that is Corrupted, and the part is replaced by one that can not be taken for it.
func (s *Store) UploadPart(ctx context.Context, up Upload, number int, req PartRequest) (Part, error) {
	return s.uploadPart(ctx, up, number, req, call{op: "UploadPart"})
}

func (s *Store) uploadPart(ctx context.Context, up Upload, number int, req PartRequest, c call) (Part, error) {
	if s.multiparter == nil {
		return Part{}, unsupported("UploadPart")
	}
	w := s.trust.ofPart(req)
	var wrong error // of the part that is there; what the call ends with may be something else
	part, err := sendBody(ctx, s, c, content{req.Body, req.Interrupt, req.Size, w.hash}, func(ctx context.Context, u *upload) (Part, error) {
		r := req
		r.Body = u
		part, err := s.multiparter.UploadPart(ctx, up, number, r)
		if err == nil && part.ETag == "" {
			err = Errorf(Unavailable, "UploadPart", "the store gave no ETag")
		}
		if err == nil {
			err = w.check("UploadPart", u, words{part.ETag, part.ETagMD5, part.Checksums})
		}
		if err != nil && CodeOf(err) == Corrupted {
			wrong = err
		}
		return part, err
	})
	if err != nil && wrong != nil {
		s.disownPart(ctx, up, number, wrong)
	}
	return part, err
}

// CompleteUpload is Multiparter.CompleteUpload. When the answer is lost, the store is asked whether the
// object is there; the call itself is not repeated. When the store says that the object is not what the parts
// make, that is Corrupted, and the object is deleted as in Put.
func (s *Store) CompleteUpload(ctx context.Context, up Upload, req CompleteRequest) (object.Attrs, error) {
	if s.multiparter == nil {
		return object.Attrs{}, unsupported("CompleteUpload")
	}
	var made object.Attrs
	var wrong error // of made; what the call ends with may be something else
	c := s.slow("CompleteUpload")
	c.limit += assembly(req.Parts)
	attrs, err := do(ctx, s, c, func(a *attempt) (object.Attrs, error) {
		attrs, err := s.multiparter.CompleteUpload(a.ctx, up, req)
		if err == nil && attrs.ETag == "" {
			err = Errorf(Unavailable, "CompleteUpload", "the store gave no ETag")
		}
		if err == nil {
			err = s.trust.checkCompleted(attrs, req)
		}
		if err != nil && CodeOf(err) == Corrupted {
			made, wrong = attrs, err
		}
		return attrs, err
	})
	if wrong != nil && made.ETag != "" {
		s.disown(ctx, up.Loc, made, wrong)
		return object.Attrs{}, err
	}
	if !ambiguous(err) {
		return attrs, err
	}
	if found, ok := s.completed(ctx, up, req); ok {
		s.cfg.Log.Warn().Str("upstream", s.name).Msg("the answer to CompleteUpload was lost; the object is there")
		return found, nil
	}
	return attrs, err
}

// assemblyRate is how fast a store surely copies parts, if it has to (bytes a second).
const assemblyRate = 16 << 20

// assembly is the time to copy parts, as far as their sizes are known.
func assembly(parts []Part) time.Duration {
	total := int64(0)
	for _, p := range parts {
		total += p.Size
	}
	return time.Duration(total/assemblyRate) * time.Second
}

// completed reports whether up has become the object at its place: the object's ETag is the one that
// the parts make, and the upload is gone. Where ETags are not made of MD5 sums it cannot tell.
func (s *Store) completed(ctx context.Context, up Upload, req CompleteRequest) (object.Attrs, bool) {
	want := multipartETag(req.Parts)
	if want == "" {
		return object.Attrs{}, false
	}
	attrs, err := s.Stat(ctx, up.Loc, StatOptions{})
	if err != nil || !strings.EqualFold(attrs.ETag, want) {
		return object.Attrs{}, false
	}
	_, err = s.ListParts(ctx, up, 0, 1)
	return attrs, err != nil && CodeOf(err) == NoUpload
}

// multipartETag is the ETag that S3 gives an object made of parts: the MD5 of the parts' MD5 sums and the
// number of parts. It is empty when a part's ETag is no MD5.
func multipartETag(parts []Part) string {
	sum := md5.New()
	for _, p := range parts {
		b, err := hex.DecodeString(p.ETag)
		if err != nil || len(b) != md5.Size {
			return ""
		}
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// AbortUpload is Multiparter.AbortUpload. An upload that is gone after a repeat is aborted.
func (s *Store) AbortUpload(ctx context.Context, up Upload) error {
	if s.multiparter == nil {
		return unsupported("AbortUpload")
	}
	tries := 0
	_, err := do(ctx, s, s.read("AbortUpload"), func(a *attempt) (struct{}, error) {
		tries++
		err := s.multiparter.AbortUpload(a.ctx, up)
		if tries > 1 && err != nil && CodeOf(err) == NoUpload {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

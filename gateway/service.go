package gateway

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/metrics"
	"unistore/multipart"
	"unistore/prefetch"
	"unistore/s3api"
)

// service is the object service: it answers S3 requests, whatever carried them. Its methods are safe for
// concurrent use.
type service struct {
	cfg      *config.Config
	routes   *routes
	keys     *keyring
	verifier *s3api.Verifier
	cache    *cache.Cache
	learner  *learner
	ahead    *prefetch.Prefetcher // nil: nothing is fetched ahead
	queries  *prefetch.Registry   // nil: the same
	uploader *multipart.Uploader
	journal  *multipart.Journal
	faults   *faults.Set
	control  *control
	metrics  *metrics.Metrics
	log      zerolog.Logger
	now      func() time.Time
}

// exchange is one request on its way through the service, and what the rim needs to know of it for
// metrics and the log when it is over.
type exchange struct {
	*s3api.Request
	id    string
	start time.Time

	interrupt func() // ends a Read of the request's Body, see upstream.PutRequest; or nil

	auth   *s3api.Auth
	who    identity
	op     s3api.Operation
	name   string             // of the operation, "Unknown" until it is known
	code   string             // S3 error code, empty for success
	source string             // of an object's bytes: cache, fill, bypass; else empty
	served prometheus.Counter // takes the bytes of an object that were sent; nil of other operations
	note   *cacheNote         // how the cache handled a read; nil of other operations
	pin    *pinning           // what it pins; nil for nothing
	query  string             // whose read it is, see queryOf
	hints  prefetch.Hint
	wants  hintedWants
}

// serve answers x. The response is never nil; err is what it was made from, for the log.
func (s *service) serve(ctx context.Context, x *exchange) (*s3api.Response, error) {
	if s.isControl(x.Request) {
		return s.serveControl(ctx, x)
	}
	res, err := s.answer(ctx, x)
	if err != nil {
		return s.fail(x, err)
	}
	x.annotate(res)
	return res, nil
}

// fail answers x with the S3 error that err stands for.
func (s *service) fail(x *exchange, err error) (*s3api.Response, error) {
	e := toS3(err)
	x.code = string(e.Code)
	res := s3api.RenderError(e, x.Request, x.id, hostID)
	x.annotate(res)
	return res, err
}

// welcome reports whether r would get as far as its body.
func (s *service) welcome(r *s3api.Request) bool {
	x := &exchange{Request: r}
	if s.isControl(r) {
		return s.admitControl(x) == nil
	}
	_, err := s.admit(x)
	return err == nil
}

// refuse answers a request that was not welcome. Nothing of its body is there.
func (s *service) refuse(x *exchange) (*s3api.Response, error) {
	if s.isControl(x.Request) {
		return s.refuseControl(x)
	}
	_, err := s.admit(x)
	if err == nil { // it would be now, but the client has not been asked for the body
		err = &s3api.Error{Code: s3api.ErrServiceUnavailable, Close: true}
	}
	s.countAuth(x, err)
	return s.fail(x, err)
}

// hostID is x-amz-id-2: constant, since a request's id alone finds its line in the log.
const hostID = "unistore"

func (s *service) answer(ctx context.Context, x *exchange) (*s3api.Response, error) {
	t, err := s.admit(x)
	if err != nil {
		s.countAuth(x, err)
		return nil, err
	}
	x.pin = s.unistoreHeaders(x)
	if op, ok := x.op.(s3api.ListBuckets); ok {
		return s.listBuckets(ctx, x, op)
	}
	return s.dispatch(ctx, x, t)
}

// countAuth counts an err of admit if it is one of authentication.
func (s *service) countAuth(x *exchange, err error) {
	if x.auth == nil {
		s.metrics.AuthFailures.WithLabelValues(string(toS3(err).Code)).Inc()
	}
}

// admit authenticates before anything else is said about a request, then types, authorises and routes it.
// It fills in what it learns of x.
func (s *service) admit(x *exchange) (target, error) {
	x.name = "Unknown"
	auth, err := s.verifier.Verify(x.Request)
	if err != nil {
		return target{}, err
	}
	if x.who, err = s.keys.identify(auth); err != nil {
		return target{}, err
	}
	x.auth = auth
	op, err := s3api.Parse(x.Request, s.cfg.BaseDomains)
	x.op, x.name = op, op.Name()
	if err != nil {
		return target{}, err
	}
	if err := x.who.authorise(op); err != nil {
		return target{}, err
	}
	if _, ok := op.(s3api.ListBuckets); ok {
		return target{}, nil
	}
	bucket, _ := op.Target()
	t, err := s.routes.find(bucket)
	if err != nil {
		return target{}, err
	}
	return t, x.checkPromisedSize(t)
}

func (s *service) dispatch(ctx context.Context, x *exchange, t target) (*s3api.Response, error) {
	switch op := x.op.(type) {
	case s3api.GetObject:
		return s.getObject(ctx, x, t, op)
	case s3api.HeadObject:
		return s.headObject(ctx, x, t, op)
	case s3api.GetObjectAttributes:
		return s.getAttributes(ctx, x, t, op)
	case s3api.PutObject:
		return s.putObject(ctx, x, t, op)
	case s3api.CopyObject:
		return s.copyObject(ctx, x, t, op)
	case s3api.DeleteObject:
		return s.deleteObject(ctx, t, op)
	case s3api.DeleteObjects:
		return s.deleteObjects(ctx, x, t)
	case s3api.ListObjects:
		return s.listObjects(ctx, x, t, op)
	case s3api.ListObjectVersions:
		return s.listVersions(ctx, x, t, op)
	default:
		return s.dispatchRare(ctx, x, t)
	}
}

func (s *service) dispatchRare(ctx context.Context, x *exchange, t target) (*s3api.Response, error) {
	switch op := x.op.(type) {
	case s3api.CreateMultipartUpload:
		return s.createUpload(ctx, t, op)
	case s3api.UploadPart:
		return s.uploadPart(ctx, x, t, op)
	case s3api.UploadPartCopy:
		return s.uploadPartCopy(ctx, x, t, op)
	case s3api.CompleteMultipartUpload:
		return s.completeUpload(ctx, x, t, op)
	case s3api.AbortMultipartUpload:
		return s.abortUpload(ctx, t, op)
	case s3api.ListParts:
		return s.listParts(ctx, t, op)
	case s3api.ListMultipartUploads:
		return s.listUploads(ctx, t, op)
	case s3api.CreateBucket:
		return s.createBucket(ctx, x, t)
	case s3api.DeleteBucket:
		return s.deleteBucket(ctx, t)
	case s3api.HeadBucket:
		return s.headBucket(ctx, t)
	case s3api.GetBucketLocation:
		return s.bucketLocation(ctx, t)
	case s3api.GetBucketVersioning:
		return s.bucketVersioning(ctx, t)
	default:
		return nil, &s3api.Error{Code: s3api.ErrNotImplemented, Message: x.name + " is not implemented."}
	}
}

package gateway

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"unistore/cache"
	"unistore/config"
	"unistore/metrics"
	"unistore/multipart"
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
	uploader *multipart.Uploader
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

	auth   *s3api.Auth
	who    identity
	op     s3api.Operation
	name   string // of the operation, "Unknown" until it is known
	code   string // S3 error code, empty for success
	source string // of an object's bytes: cache, fill, bypass; else empty
}

// serve answers x. The response is never nil; err is what it was made from, for the log.
func (s *service) serve(ctx context.Context, x *exchange) (*s3api.Response, error) {
	res, err := s.answer(ctx, x)
	if err == nil {
		return res, nil
	}
	e := toS3(err)
	x.code = string(e.Code)
	return s3api.RenderError(e, x.Request, x.id, hostID), err
}

// hostID is x-amz-id-2: constant, since a request's id alone finds its line in the log.
const hostID = "unistore"

// answer authenticates before anything else is said about a request, then types, authorises and
// dispatches it.
func (s *service) answer(ctx context.Context, x *exchange) (*s3api.Response, error) {
	x.name = "Unknown"
	auth, err := s.verifier.Verify(x.Request)
	if err != nil {
		s.metrics.AuthFailures.WithLabelValues(string(toS3(err).Code)).Inc()
		return nil, err
	}
	x.auth = auth
	x.who = s.keys.identify(auth)
	op, err := s3api.Parse(x.Request, s.cfg.BaseDomains)
	x.op, x.name = op, op.Name()
	if err != nil {
		return nil, err
	}
	if err := x.who.authorise(op); err != nil {
		return nil, err
	}
	if op, ok := op.(s3api.ListBuckets); ok {
		return s.listBuckets(ctx, x, op)
	}
	bucket, _ := op.Target()
	t, err := s.routes.find(bucket)
	if err != nil {
		return nil, err
	}
	return s.dispatch(ctx, x, t)
}

func (s *service) dispatch(ctx context.Context, x *exchange, t target) (*s3api.Response, error) {
	switch op := x.op.(type) {
	case s3api.GetObject:
		return s.getObject(ctx, x, t, op)
	case s3api.HeadObject:
		return s.headObject(ctx, x, t, op)
	case s3api.GetObjectAttributes:
		return s.getAttributes(ctx, t, op)
	case s3api.PutObject:
		return s.putObject(ctx, x, t, op)
	case s3api.CopyObject:
		return s.copyObject(ctx, x, t, op)
	case s3api.DeleteObject:
		return s.deleteObject(ctx, t, op)
	case s3api.DeleteObjects:
		return s.deleteObjects(ctx, x, t)
	case s3api.ListObjects:
		return s.listObjects(ctx, t, op)
	case s3api.ListObjectVersions:
		return s.listVersions(ctx, t, op)
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

package s3api

// The error codes that a gateway may answer. Names, statuses and messages are those of the list of error
// codes in the Amazon S3 API reference, and of what the service itself answers where the list is silent.
const (
	ErrAccessDenied                      ErrorCode = "AccessDenied"
	ErrAccessForbidden                   ErrorCode = "AccessForbidden"
	ErrAuthorizationHeaderMalformed      ErrorCode = "AuthorizationHeaderMalformed"
	ErrAuthorizationQueryParametersError ErrorCode = "AuthorizationQueryParametersError"
	ErrBadDigest                         ErrorCode = "BadDigest"
	ErrBadRequest                        ErrorCode = "BadRequest"
	ErrBucketAlreadyExists               ErrorCode = "BucketAlreadyExists"
	ErrBucketAlreadyOwnedByYou           ErrorCode = "BucketAlreadyOwnedByYou"
	ErrBucketNotEmpty                    ErrorCode = "BucketNotEmpty"
	ErrConditionalRequestConflict        ErrorCode = "ConditionalRequestConflict"
	ErrEntityTooLarge                    ErrorCode = "EntityTooLarge"
	ErrEntityTooSmall                    ErrorCode = "EntityTooSmall"
	ErrExpiredToken                      ErrorCode = "ExpiredToken"
	// ErrGatewayTimeout is not of AWS: only-if-cached on a miss (RFC 9111 section 5.2.1.7).
	ErrGatewayTimeout                     ErrorCode = "GatewayTimeout"
	ErrIllegalLocationConstraintException ErrorCode = "IllegalLocationConstraintException"
	ErrIncompleteBody                     ErrorCode = "IncompleteBody"
	// ErrInsufficientStorage is not of AWS: the store behind is full (RFC 4918 section 11.5).
	ErrInsufficientStorage       ErrorCode = "InsufficientStorage"
	ErrInternalError             ErrorCode = "InternalError"
	ErrInvalidAccessKeyId        ErrorCode = "InvalidAccessKeyId"
	ErrInvalidArgument           ErrorCode = "InvalidArgument"
	ErrInvalidBucketName         ErrorCode = "InvalidBucketName"
	ErrInvalidChunkSizeError     ErrorCode = "InvalidChunkSizeError"
	ErrInvalidDigest             ErrorCode = "InvalidDigest"
	ErrInvalidLocationConstraint ErrorCode = "InvalidLocationConstraint"
	ErrInvalidObjectState        ErrorCode = "InvalidObjectState"
	ErrInvalidPart               ErrorCode = "InvalidPart"
	ErrInvalidPartNumber         ErrorCode = "InvalidPartNumber"
	ErrInvalidPartOrder          ErrorCode = "InvalidPartOrder"
	ErrInvalidRange              ErrorCode = "InvalidRange"
	ErrInvalidRequest            ErrorCode = "InvalidRequest"
	ErrInvalidStorageClass       ErrorCode = "InvalidStorageClass"
	ErrInvalidToken              ErrorCode = "InvalidToken"
	ErrInvalidURI                ErrorCode = "InvalidURI"
	ErrKeyTooLongError           ErrorCode = "KeyTooLongError"
	ErrMalformedTrailerError     ErrorCode = "MalformedTrailerError"
	ErrMalformedXML              ErrorCode = "MalformedXML"
	ErrMaxMessageLengthExceeded  ErrorCode = "MaxMessageLengthExceeded"
	ErrMetadataTooLarge          ErrorCode = "MetadataTooLarge"
	ErrMethodNotAllowed          ErrorCode = "MethodNotAllowed"
	ErrMissingContentLength      ErrorCode = "MissingContentLength"
	ErrMissingRequestBodyError   ErrorCode = "MissingRequestBodyError"
	ErrMissingSecurityHeader     ErrorCode = "MissingSecurityHeader"
	ErrNoSuchBucket              ErrorCode = "NoSuchBucket"
	ErrNoSuchKey                 ErrorCode = "NoSuchKey"
	ErrNoSuchUpload              ErrorCode = "NoSuchUpload"
	ErrNoSuchVersion             ErrorCode = "NoSuchVersion"
	ErrNotImplemented            ErrorCode = "NotImplemented"
	// ErrNotModified is a 304: an answer without a body, so the code itself is never seen.
	ErrNotModified                  ErrorCode = "NotModified"
	ErrOperationAborted             ErrorCode = "OperationAborted"
	ErrPreconditionFailed           ErrorCode = "PreconditionFailed"
	ErrRequestHeaderSectionTooLarge ErrorCode = "RequestHeaderSectionTooLarge"
	ErrRequestTimeTooSkewed         ErrorCode = "RequestTimeTooSkewed"
	ErrRequestTimeout               ErrorCode = "RequestTimeout"
	ErrServiceUnavailable           ErrorCode = "ServiceUnavailable"
	ErrSignatureDoesNotMatch        ErrorCode = "SignatureDoesNotMatch"
	ErrSlowDown                     ErrorCode = "SlowDown"
	ErrTooManyBuckets               ErrorCode = "TooManyBuckets"
	ErrUnexpectedContent            ErrorCode = "UnexpectedContent"
	ErrXAmzContentSHA256Mismatch    ErrorCode = "XAmzContentSHA256Mismatch"
)

type codeInfo struct {
	status  int
	message string
}

var codeTable = map[ErrorCode]codeInfo{
	ErrInvalidChunkSizeError:              {403, "Only the last chunk is allowed to have a size less than 8192 bytes"},
	ErrMalformedTrailerError:              {400, "The request contained trailing data that was not well-formed or did not conform to our published schema."},
	ErrAccessDenied:                       {403, "Access Denied"},
	ErrAccessForbidden:                    {403, "CORSResponse: CORS is not enabled for this bucket."},
	ErrAuthorizationHeaderMalformed:       {400, "The authorization header you provided is invalid."},
	ErrAuthorizationQueryParametersError:  {400, "The authorization query parameters that you provided are not valid."},
	ErrBadDigest:                          {400, "The Content-MD5 you specified did not match what we received."},
	ErrBadRequest:                         {400, "Bad Request"},
	ErrBucketAlreadyExists:                {409, "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."},
	ErrBucketAlreadyOwnedByYou:            {409, "Your previous request to create the named bucket succeeded and you already own it."},
	ErrBucketNotEmpty:                     {409, "The bucket you tried to delete is not empty"},
	ErrConditionalRequestConflict:         {409, "The conditional request cannot succeed due to a conflicting operation against this resource."},
	ErrEntityTooLarge:                     {400, "Your proposed upload exceeds the maximum allowed size"},
	ErrEntityTooSmall:                     {400, "Your proposed upload is smaller than the minimum allowed size"},
	ErrExpiredToken:                       {400, "The provided token has expired."},
	ErrGatewayTimeout:                     {504, "The object is not in the cache, and the request asked for the cache only."},
	ErrIllegalLocationConstraintException: {400, "The specified location constraint is incompatible for the region specific endpoint this request was sent to."},
	ErrIncompleteBody:                     {400, "You did not provide the number of bytes specified by the Content-Length HTTP header"},
	ErrInsufficientStorage:                {507, "There is not enough space left in the store to complete the request."},
	ErrInternalError:                      {500, "We encountered an internal error. Please try again."},
	ErrInvalidAccessKeyId:                 {403, "The AWS Access Key Id you provided does not exist in our records."},
	ErrInvalidArgument:                    {400, "Invalid Argument"},
	ErrInvalidBucketName:                  {400, "The specified bucket is not valid."},
	ErrInvalidDigest:                      {400, "The Content-MD5 you specified was invalid."},
	ErrInvalidLocationConstraint:          {400, "The specified location-constraint is not valid"},
	ErrInvalidObjectState:                 {403, "The operation is not valid for the object's storage class"},
	ErrInvalidPart:                        {400, "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	ErrInvalidPartNumber:                  {416, "The requested partnumber is not satisfiable"},
	ErrInvalidPartOrder:                   {400, "The list of parts was not in ascending order. Parts must be ordered by part number."},
	ErrInvalidRange:                       {416, "The requested range is not satisfiable"},
	ErrInvalidRequest:                     {400, "Invalid Request"},
	ErrInvalidStorageClass:                {400, "The storage class you specified is not valid"},
	ErrInvalidToken:                       {400, "The provided token is malformed or otherwise invalid."},
	ErrInvalidURI:                         {400, "Couldn't parse the specified URI."},
	ErrKeyTooLongError:                    {400, "Your key is too long"},
	ErrMalformedXML:                       {400, "The XML you provided was not well-formed or did not validate against our published schema"},
	ErrMaxMessageLengthExceeded:           {400, "Your request was too big."},
	ErrMetadataTooLarge:                   {400, "Your metadata headers exceed the maximum allowed metadata size"},
	ErrMethodNotAllowed:                   {405, "The specified method is not allowed against this resource."},
	ErrMissingContentLength:               {411, "You must provide the Content-Length HTTP header."},
	ErrMissingRequestBodyError:            {400, "Request Body is empty"},
	ErrMissingSecurityHeader:              {400, "Your request was missing a required header"},
	ErrNoSuchBucket:                       {404, "The specified bucket does not exist"},
	ErrNoSuchKey:                          {404, "The specified key does not exist."},
	ErrNoSuchUpload:                       {404, "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	ErrNoSuchVersion:                      {404, "The specified version does not exist."},
	ErrNotImplemented:                     {501, "A header you provided implies functionality that is not implemented"},
	ErrNotModified:                        {304, "Not Modified"},
	ErrOperationAborted:                   {409, "A conflicting conditional operation is currently in progress against this resource. Please try again."},
	ErrPreconditionFailed:                 {412, "At least one of the pre-conditions you specified did not hold"},
	ErrRequestHeaderSectionTooLarge:       {400, "Your request header section exceeds the maximum allowed request header section size."},
	ErrRequestTimeTooSkewed:               {403, "The difference between the request time and the current time is too large."},
	ErrRequestTimeout:                     {400, "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."},
	ErrServiceUnavailable:                 {503, "Service is unable to handle request."},
	ErrSignatureDoesNotMatch:              {403, "The request signature we calculated does not match the signature you provided. Check your key and signing method."},
	ErrSlowDown:                           {503, "Please reduce your request rate."},
	ErrTooManyBuckets:                     {400, "You have attempted to create more buckets than allowed"},
	ErrUnexpectedContent:                  {400, "This request contains unsupported content."},
	ErrXAmzContentSHA256Mismatch:          {400, "The provided 'x-amz-content-sha256' header does not match what was computed."},
}

// Status returns the HTTP status of c; 500 for a code that is not of this package.
func (c ErrorCode) Status() int {
	if info, ok := codeTable[c]; ok {
		return info.status
	}
	return codeTable[ErrInternalError].status
}

// Message returns the words that go with c when an Error has none of its own.
func (c ErrorCode) Message() string {
	if info, ok := codeTable[c]; ok {
		return info.message
	}
	return codeTable[ErrInternalError].message
}

// Package s3api is the S3 protocol and nothing else: from a raw HTTP request to a typed, authenticated
// operation, and from results and errors to responses. It knows no storage, no cache and no server.
//
// The way of a request: the HTTP rim builds a Request from raw bytes; Verifier.Verify
// authenticates it; Parse types it; Auth.Body gives the decoded and verified body;
// the gateway acts; a Render function or RenderError makes the Response.
package s3api

package s3api

import "errors"

// message returns the words of e, or those of its code.
func (e *Error) message() string {
	if e.Message != "" {
		return e.Message
	}
	return e.Code.Message()
}

// RenderError renders err for the client. What is not an *Error is InternalError and says nothing of
// err. r is the request, which gives Resource and whether a body may be sent; it may be nil when
// there was none to read.
func RenderError(err error, r *Request, requestID, hostID string) *Response {
	e, ok := errors.AsType[*Error](err)
	if !ok || e == nil {
		e = &Error{Code: ErrInternalError}
	}
	var resp *Response
	status := e.Code.Status()
	if status == 304 || (r != nil && r.Method == "HEAD") {
		resp = &Response{Status: status, Length: -1}
		if status != 304 {
			resp.Set("Content-Type", contentTypeXML)
		}
	} else {
		resp = xmlResponse(status, errorDocument(e, r, requestID, hostID))
	}
	resp.Header = append(resp.Header, e.Header...)
	if e.Close {
		resp.Set("Connection", "close")
	}
	return resp
}

// errorDocument has no namespace, as with S3.
func errorDocument(e *Error, r *Request, requestID, hostID string) []byte {
	resource := e.Resource
	if resource == "" && r != nil {
		resource = r.RawPath
	}
	w := &xmlWriter{}
	w.buf.WriteString(xmlProlog)
	w.open("Error")
	w.str("Code", string(e.Code))
	w.str("Message", e.message())
	for _, f := range e.Fields {
		w.str(f.Name, f.Value)
	}
	w.str("Resource", resource)
	w.str("RequestId", requestID)
	w.str("HostId", hostID)
	w.close("Error")
	return w.buf.Bytes()
}

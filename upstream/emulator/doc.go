// Package emulator is an emulator, in memory, of three clouds' object stores: Alibaba OSS, Huawei OBS (its
// native protocol) and Tencent COS. It is test support and never part of the binary.
//
// It is written from the vendors' published protocol documents and shares no code with their SDKs: it
// verifies every signature by the published algorithm, answers in the vendor's XML, headers and error codes,
// and has the vendors' quirks as switches. That it speaks the protocol is shown by the vendors' own Node SDKs
// (e2e/npm). It is not the vendor's service: a test that passes against it says "emulator" in its name.
//
// Documents: help.aliyun.com/zh/oss/developer-reference, support.huaweicloud.com/api-obs,
// cloud.tencent.com/document/product/436.
//
//	handler    request.go: host, path and query to a call; route.go: to one operation
//	auth*.go   signatures, one file a vendor
//	ops        object.go, copy.go, multipart.go, bucket.go, list.go
//	core       store.go: buckets, objects, uploads; knows neither HTTP nor vendors
//	trouble    quirks.go: switches; fault.go: what goes wrong with one request
package emulator

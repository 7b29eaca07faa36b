//go:build e2e

package s3_test

import "maps"

// Reasons for which a real server fails a case of the conformance suite. None is a thing that the driver
// could mend without inventing what the server does not tell.
const (
	clash      = "an object and objects below it cannot both be: refused with InvalidKey"
	shadow     = "MinIO lists no objects below an object"
	longNames  = "versitygw cannot overwrite a file whose name leaves no room for its temporary suffix"
	checkOrder = "versitygw looks at the sizes of parts before it misses one"
	repeatable = "versitygw, like Amazon, answers a repeated completion with success"
	idMarker   = "versitygw finds no upload id marker"
	uploadList = "MinIO lists the uploads of one exact key only"
	rfc2047    = "MinIO, like Amazon, returns metadata that is not ASCII in RFC 2047 encoding"
	fullPage   = "MinIO says that there is more when a page is exactly full"
)

// below are the cases of listing whose keys lie below other keys.
var below = []string{
	`list/prefix ""`, `list/prefix "a"`, `list/prefix "ab"`,
	`paging/every page size, delimiter ""`, `paging/every page size, delimiter "/"`, `paging/every page size, delimiter "/1"`,
	`paging/every page size, delimiter "0"`, "paging/random keys", "paging/start after common prefixes",
	"paging/start after every key", "paging/with prefix",
}

func deviations(reason string, more map[string]string) map[string]string {
	all := maps.Clone(more)
	for _, name := range below {
		all[name] = reason
	}
	return all
}

var versityDeviations = deviations(clash, map[string]string{
	"key/component of 251": longNames, "key/component of 252": longNames, "key/component of 253": longNames,
	"key/component of 255": longNames, "key/multi-byte at the edge": longNames, "keys/long": longNames,
	"complete/a part that is not there": checkOrder, "complete/twice": repeatable,
	"list uploads/every page size": idMarker, "list uploads/prefix": idMarker,
	"bucket/emptied, deleted, made again": clash, "multipart/a key below another": clash,
	`list/prefix "a/"`: clash, `list/prefix "a/b"`: clash, `list/prefix "a/b/"`: clash, `list/prefix "b!/"`: clash,
	`list/prefix "c/d"`: clash, `list/prefix "p"`: clash, `list/prefix "photos"`: clash, `list/prefix "photos/"`: clash,
	`list/prefix "photos/2006/"`: clash, `list/prefix "photos/2006/J"`: clash, `list/prefix "z"`: clash, `list/prefix "ä"`: clash,
})

var minioDeviations = deviations(shadow, map[string]string{
	"headers/user with utf-8 value": rfc2047,
	"keys/below then the object":    shadow, "keys/below, marker, object": shadow, "keys/deep chain": shadow, "keys/escapes": shadow,
	"keys/object then below it": shadow, "keys/object, marker, below": shadow,
	"concurrent/a key and keys below it": shadow, "model/random operations": shadow,
	"keys/long":                            shadow,
	"paging/the last page is exactly full": fullPage,
	"list uploads/delimiter":               uploadList, "list uploads/every page size": uploadList, "list uploads/prefix": uploadList,
})

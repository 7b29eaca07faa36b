package local

import "unistore/faults"

// The named points of process.kill: where a crash leaves something in the hidden area.
const (
	pointStaged    = "local.staged"    // all bytes of the object-to-be are in tmp, with their record
	pointLinked    = "local.linked"    // the object is there and its name in tmp, too; of writes that must create
	pointPlaced    = "local.placed"    // the object is there; its directory is not synced
	pointUpload    = "local.upload"    // the directory of an upload is there and not synced
	pointPart      = "local.part"      // a part is there; its directory is not synced
	pointCompleted = "local.completed" // an upload is an object, and its parts are there still
)

// Inject makes faults of set strike at the points of this package, as the upstream name. It is called before any
// other method.
func (b *Backend) Inject(name string, set *faults.Set) { b.name, b.faults = name, set }

func (b *Backend) point(name, bucket, key string) {
	b.faults.Point(faults.Scope{Upstream: b.name, Operation: name, Bucket: bucket, Key: key})
}

package multipart

import (
	"testing"

	"github.com/rs/zerolog"

	"unistore/meta"
	"unistore/meta/mem"
	"unistore/meta/rocks"
	"unistore/object"
	"unistore/upstream"
)

// BenchmarkJournal is what the records of one upload of ten parts cost: of the gateway's own, and of a client's, which
// has a record a part. Its intent is synced to disk, the rest is not.
func BenchmarkJournal(b *testing.B) {
	engines := map[string]func() (meta.Engine, error){
		"memory": func() (meta.Engine, error) { return mem.New(), nil },
		"rocks":  func() (meta.Engine, error) { return rocks.Open(rocks.Config{Dir: b.TempDir()}) },
	}
	for name, open := range engines {
		for _, kind := range []meta.UploadKind{meta.UploadPut, meta.UploadClient} {
			b.Run(name+map[meta.UploadKind]string{meta.UploadPut: "/put", meta.UploadClient: "/client"}[kind], func(b *testing.B) {
				e, err := open()
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = e.Close() }()
				db, err := meta.NewDB(e)
				if err != nil {
					b.Fatal(err)
				}
				j := NewJournal(JournalConfig{DB: db, Log: zerolog.Nop()})
				parts := make([]upstream.Part, 10)
				for b.Loop() {
					entry := j.Begin(kind, meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "dir/object"})
					entry.Opened("id")
					for i := range parts {
						parts[i] = upstream.Part{Number: i + 1, Size: 16 << 20, ETag: "0123456789abcdef0123456789abcdef"}
						if kind == meta.UploadClient {
							entry.Part(parts[i])
						}
					}
					entry.Completing(parts)
					entry.Completed(object.Attrs{ETag: "e-10"})
					entry.Gone()
				}
			})
		}
	}
}

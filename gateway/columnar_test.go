package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/parquet-go/parquet-go"

	"unistore/cache"
	"unistore/columns"
	"unistore/config"
)

// parquetFile is a file of groups row groups with 32 columns that do not compress.
func parquetFile(t *testing.T, groups, rows int) []byte {
	t.Helper()
	type row struct {
		A, B, C, D, E, F, G, H int64
	}
	var out bytes.Buffer
	w := parquet.NewGenericWriter[row](&out)
	r := rand.New(rand.NewPCG(1, 2))
	for range groups {
		list := make([]row, rows)
		for i := range list {
			list[i] = row{r.Int64(), r.Int64(), r.Int64(), r.Int64(), r.Int64(), r.Int64(), r.Int64(), r.Int64()}
		}
		if _, err := w.Write(list); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A query that reads two of eight columns gets these, of the next row groups and of the files beside, ahead; and no others.
func TestColumnsAreFetchedAhead(t *testing.T) {
	g := startAhead(t, nil)
	data := parquetFile(t, 3, 40_000) // chunks of 320 kB
	l, err := columns.Parse(data, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	g.bucket("lake")
	for i := range 4 {
		g.put("lake", fmt.Sprintf("t/part-%d.parquet", i), data)
	}
	list := "lake"
	if _, err := g.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &list}); err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	for i := range 4 {
		key := fmt.Sprintf("t/part-%d.parquet", i)
		g.getWith("lake", key, "bytes=-8")
		n, err := columns.FooterLength(data[len(data)-8:])
		if err != nil {
			t.Fatal(err)
		}
		g.getWith("lake", key, fmt.Sprintf("bytes=%d-%d", int64(len(data))-n, len(data)-9))
		for group := range l.Groups {
			for _, c := range []int{1, 5} {
				chunk := l.Groups[group][c]
				read := func() string { return g.getWith("lake", key, fmt.Sprintf("bytes=%d-%d", chunk.Off, chunk.End()-1)) }
				if i == 0 && group == 0 { // until the footer is known, and what follows is there; an engine takes its time, too
					g.eventually("columns are fetched", func() bool {
						read()
						return g.outcome("columnar") > 768<<10
					})
				}
				hits[read()]++
			}
		}
	}
	if n := hits["unistore; hit; detail=prefetched"] + hits["unistore; hit; detail=memory"]; n < 12 {
		t.Errorf("%d of 24 chunks were there: %v", n, hits)
	}
	// 2 of 8 columns of 4 files, their footers with 512 KiB before, and pages at the borders of chunks.
	wanted := 4*(len(data)/4+600<<10) + 24*128<<10
	if got := g.outcome("columnar") + g.outcome("demand") + g.outcome("sequential"); got > int64(wanted) {
		t.Errorf("%d bytes fetched, want at most %d", got, wanted)
	}
}

// What only looks like Parquet costs its tail, once.
func TestWhatIsNoParquet(t *testing.T) {
	g := startAhead(t, nil)
	g.bucketWith("lake", "junk.parquet", 4<<20)
	for i := range 4 {
		g.getWith("lake", "junk.parquet", fmt.Sprintf("bytes=%d-%d", (3-i)<<20, (3-i)<<20+99))
	}
	g.eventually("its tail is fetched", func() bool { return g.outcome("columnar") > 0 })
	if got := g.outcome("columnar"); got > 512<<10 {
		t.Errorf("%d bytes", got)
	}
}

// Who lists files in columns finds the ends of the first ones in the cache, headers included, and the store is asked for nothing
// more; further pages and routes that confirm every read are left alone.
func TestFootersOfListedFiles(t *testing.T) {
	data := parquetFile(t, 1, 20_000)
	for name, tt := range map[string]struct {
		after   string
		fresh   config.Freshness
		footers int
	}{
		"the first page": {"", config.Freshness{TTL: time.Hour}, listedFooters},
		"a later page":   {"t/a", config.Freshness{TTL: time.Hour}, 0},
		"revalidated":    {"", config.Freshness{Revalidate: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := startAhead(t, func(cfg *config.Config) { cfg.Buckets[0].Freshness = tt.fresh })
			g.bucket("lake")
			key := func(i int) string { return fmt.Sprintf("t/part-%d.parquet", i) }
			for i := range listedFooters + 2 {
				g.put("lake", key(i), data)
			}
			if _, err := g.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("lake"), StartAfter: &tt.after}); err != nil {
				t.Fatal(err)
			}
			end := int64(len(data))
			tail := end - (end-64<<10)/cache.PageSize*cache.PageSize // whole pages
			g.eventually("the footers are there", func() bool { return g.outcome("columnar") >= int64(tt.footers)*tail })
			before := g.upstreamCalls("Open", "Stat")
			for i := range tt.footers {
				if got := g.getWith("lake", key(i), "bytes=-1000"); !strings.Contains(got, "hit") {
					t.Errorf("%s: %s", key(i), got)
				}
			}
			if n := g.upstreamCalls("Open", "Stat") - before; n != 0 {
				t.Errorf("the store was asked %v times", n)
			}
			// The footer of another file, fetched after all these, shows that no more is to come.
			g.put("lake", "other/x.parquet", data)
			g.getWith("lake", "other/x.parquet", "bytes=0-99")
			g.eventually("another footer is there", func() bool { return g.outcome("columnar") >= int64(tt.footers+1)*tail })
			if got := g.outcome("columnar"); got != int64(tt.footers+1)*tail {
				t.Errorf("%d bytes fetched ahead, want %d", got, int64(tt.footers+1)*tail)
			}
		})
	}
}

package all

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
)

const (
	matrixFile  = "../../docs/upstreams.md"
	matrixBegin = "<!-- the table is made by TestMatrix; UNISTORE_REWRITE=1 go test ./upstream/all -run TestMatrix -->\n"
	matrixEnd   = "<!-- end of the table -->\n"
)

// TestMatrix compares the table of docs/upstreams.md with what the drivers say of themselves.
func TestMatrix(t *testing.T) {
	page, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), matrixBegin)
	have, after, ok2 := strings.Cut(rest, matrixEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", matrixFile)
	}
	table := matrix(t)
	if have == table {
		return
	}
	if os.Getenv("UNISTORE_REWRITE") == "" {
		t.Fatalf("%s is not what the drivers say:\n%s", matrixFile, table)
	}
	if err := os.WriteFile(matrixFile, []byte(before+matrixBegin+table+matrixEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func matrix(t *testing.T) string {
	secret := config.NewSecret("secret")
	configs := map[string]config.Upstream{
		"s3":    {Type: "s3", Region: "us-east-1", AccessKey: "AK", SecretKey: secret},
		"oss":   {Type: "oss", Region: "cn-hangzhou", AccessKey: "AK", SecretKey: secret},
		"obs":   {Type: "obs", Endpoint: "https://obs.cn-north-4.myhuaweicloud.com", AccessKey: "AK", SecretKey: secret},
		"cos":   {Type: "cos", Region: "ap-guangzhou", AccessKey: "AK", SecretKey: secret},
		"hdfs":  {Type: "hdfs", NameNodes: []string{"127.0.0.1:1"}, Root: "/unistore"},
		"local": {Type: "local", Root: t.TempDir()},
	}
	types := []string{"s3", "oss", "obs", "cos", "hdfs", "local"}
	for _, typ := range Types() {
		if typ != typeMem && !slices.Contains(types, typ) {
			t.Errorf("type %s is not in the table", typ)
		}
	}
	columns := map[string]upstream.Backend{}
	for _, typ := range types {
		b, err := New(t.Context(), typ, configs[typ], zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		columns[typ] = b
	}
	var out strings.Builder
	out.WriteString("| | " + strings.Join(types, " | ") + " |\n|---" + strings.Repeat("|---", len(types)) + "|\n")
	for _, row := range matrixRows {
		out.WriteString("| " + row.name)
		for _, typ := range types {
			out.WriteString(" | " + row.cell(columns[typ]))
		}
		out.WriteString(" |\n")
	}
	return out.String()
}

var matrixRows = []struct {
	name string
	cell func(b upstream.Backend) string
}{
	{"buckets made, deleted, listed", has[upstream.Bucketer]},
	{"multipart uploads", has[upstream.Multiparter]},
	{"copies on its side (else through the gateway)", has[upstream.Copier]},
	{"batch delete (else one by one)", has[upstream.BatchDeleter]},
	{"`If-None-Match: *` on writes", limit(func(l upstream.Limits) string { return yes(l.CreateOnly) })},
	{"`If-Match` on writes", limit(func(l upstream.Limits) string { return yes(l.ReplaceOnly) })},
	{"`If-Match` on deletions, in one step (S3: Amazon's alone)", limit(func(l upstream.Limits) string { return yes(l.DeleteCondition) })},
	{"keeps S3's checksums", limit(func(l upstream.Limits) string { return yes(l.StoresChecksums) })},
	{"least size of a part, but the last", limit(func(l upstream.Limits) string { return size(l.MinPart) })},
	{"largest part", limit(func(l upstream.Limits) string { return size(l.MaxPart) })},
	{"part numbers without gaps only", limit(func(l upstream.Limits) string { return yes(l.ContiguousParts) })},
	{"largest single write", limit(func(l upstream.Limits) string { return size(l.MaxPut) })},
	{"largest object", limit(func(l upstream.Limits) string { return size(l.MaxObject) })},
	{"longest key, bytes", limit(func(l upstream.Limits) string { return fmt.Sprint(l.MaxKey) })},
}

func has[T any](b upstream.Backend) string {
	_, ok := b.(T)
	return yes(ok)
}

func limit(cell func(upstream.Limits) string) func(upstream.Backend) string {
	return func(b upstream.Backend) string { return cell(b.Limits()) }
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func size(n int64) string {
	switch {
	case n <= 1:
		return "any"
	case n%(1<<40) == 0:
		return fmt.Sprintf("%d TiB", n>>40)
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}

package prefetch

import (
	"slices"

	"unistore/byterange"
	"unistore/cache"
	"unistore/columns"
)

// chunkGap: chunks with a gap up to this between them are fetched by one request (bytes).
const chunkGap = 64 << 10

// maxLooks bounds how many chunks a read looks at to find those ahead of it, but for the rest of a row group: what is wanted
// already is looked at as well.
const maxLooks = 4096

// columnUse is which columns one query reads of files with one schema in one directory. What has no name of its own comes
// again with other columns, or for the same ones: a new pass begins then, which knows nothing. Guarded by Prefetcher.mu.
type columnUse struct {
	pass    int
	groups  int         // row groups that were read
	reads   map[int]int // by column: in how many row groups it was read
	most    int         // the largest of reads
	seen    int64       // bytes of the chunks that were read
	pending int64       // bytes of chunks that are wanted and were not read yet
	file    string      // the key of the file that was read last
}

// restart begins a new pass.
func (u *columnUse) restart() { *u = columnUse{pass: u.pass + 1, reads: map[int]int{}} }

// wants reports whether the query reads a column about as often as it reads any.
func (u *columnUse) wants(column int) bool { return u.reads[column] > 0 && 2*u.reads[column] >= u.most }

// columns are those that the query reads, ascending.
func (u *columnUse) columns() (list []int) {
	for c := range u.reads {
		if u.wants(c) {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}

// columnFile is what one query has read, and what is wanted for it, of one version in columns.
type columnFile struct {
	key    string
	layout *columns.Layout // nil: others needed its room; it is set again before each use
	read   map[chunkID]bool
	wanted map[chunkID]bool
	groups map[int]bool // that were read
	last   int          // the row group that was read last
	skips  int          // how often row groups were left out
	pass   int          // of the columnUse; what was before it does not count
}

type chunkID struct{ group, column int }

func newColumnFile(key string, l *columns.Layout) *columnFile {
	f := &columnFile{key: key, layout: l}
	f.follow(0)
	return f
}

// follow forgets what was read and wanted before pass.
func (f *columnFile) follow(pass int) {
	if f.read == nil || f.pass != pass {
		*f = columnFile{key: f.key, layout: f.layout, read: map[chunkID]bool{}, wanted: map[chunkID]bool{}, groups: map[int]bool{}, pass: pass}
	}
}

// anew reports whether a read of columns from off on shows that a new pass has begun: a chunk from its beginning once more, or a
// column that was not among those of several row groups, or of the files behind this one.
func (f *columnFile) anew(group int, list []int, off int64, u *columnUse) bool {
	known := u.groups >= 2 || u.groups > 0 && f.key < u.file
	return slices.ContainsFunc(list, func(c int) bool {
		return f.read[chunkID{group, c}] && off <= f.layout.Groups[group][c].Off || u.reads[c] == 0 && known
	})
}

// touch takes in a read of [off, off+n). Not ok: it was no column's.
func (f *columnFile) touch(off, n int64, u *columnUse) (group int, ok bool) {
	group, list := f.layout.Touched(off, n)
	if len(list) == 0 {
		return 0, false
	}
	f.follow(u.pass)
	if f.anew(group, list, off, u) {
		u.restart()
		f.follow(u.pass)
	}
	if len(f.groups) > 0 && group > f.last+1 {
		f.skips++
	}
	f.last, u.file = group, f.key
	if !f.groups[group] {
		f.groups[group] = true
		u.groups++
	}
	for _, c := range list {
		id := chunkID{group, c}
		if f.read[id] {
			continue
		}
		f.read[id] = true
		u.reads[c]++
		u.most = max(u.most, u.reads[c])
		u.seen += f.layout.Groups[group][c].Len
		if f.wanted[id] {
			u.pending -= f.layout.Groups[group][c].Len
		}
	}
	return group, true
}

// ahead wants the columns of u in the row groups from on, as far as budget bytes reach, and returns what is left of these. A
// reader that leaves row groups out is not run ahead of: only what is left of the one it is in is wanted. Behind a row group of
// which a chunk does not fit nothing is looked for: the next read brings more budget.
func (f *columnFile) ahead(u *columnUse, from int, budget int64) (out []Want, left int64) {
	f.follow(u.pass)
	end := len(f.layout.Groups)
	if f.skips >= 2 {
		end = min(end, from+1)
		budget = min(budget, f.groupBytes(from))
	}
	list, looks, fits := u.columns(), 0, true
	for g := from; g < end && budget > 0 && fits && looks < maxLooks; g++ {
		var chunks []columns.Chunk
		looks += 1 + len(list)
		for _, c := range list {
			if c >= len(f.layout.Groups[g]) { // another file's with the same hash
				break
			}
			id, chunk := chunkID{g, c}, f.layout.Groups[g][c]
			if f.read[id] || f.wanted[id] || chunk.Len == 0 {
				continue
			}
			if chunk.Len > budget {
				fits = false
				continue
			}
			f.wanted[id] = true
			u.pending += chunk.Len
			budget -= chunk.Len
			chunks = append(chunks, chunk)
		}
		out = append(out, merged(chunks)...)
	}
	return out, budget
}

// groupBytes is the length of all chunks of a row group.
func (f *columnFile) groupBytes(g int) (n int64) {
	if g < len(f.layout.Groups) {
		for _, c := range f.layout.Groups[g] {
			n += c.Len
		}
	}
	return n
}

// merged makes as few ranges as possible of chunks.
func merged(chunks []columns.Chunk) (out []Want) {
	slices.SortFunc(chunks, func(a, b columns.Chunk) int {
		switch {
		case a.Off < b.Off:
			return -1
		case a.Off > b.Off:
			return 1
		}
		return 0
	})
	for _, c := range chunks {
		if n := len(out); n > 0 && c.Off <= out[n-1].Range.End()+chunkGap {
			out[n-1].Range.Len = max(out[n-1].Range.End(), c.End()) - out[n-1].Range.Off
			continue
		}
		out = append(out, Want{byterange.Range{Off: c.Off, Len: c.Len}, cache.CauseColumnar})
	}
	return out
}

// pieces cuts wants into requests of at most run bytes.
func pieces(wants []Want, run int64) (out []Want) {
	for _, w := range wants {
		for r := w.Range; !r.Empty(); {
			n := min(r.Len, run)
			out = append(out, Want{byterange.Range{Off: r.Off, Len: n}, w.Cause})
			r = byterange.Range{Off: r.Off + n, Len: r.Len - n}
		}
	}
	return out
}

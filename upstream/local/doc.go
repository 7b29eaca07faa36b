// Package local is the driver of a directory: every directory in its root is a bucket, every object a
// plain file that other programs can read, and files that other programs put there are objects.
//
// # Names
//
// The object with key "a/b.parquet" in bucket "data" is ROOT/data/a/b.parquet. What a file system cannot
// hold is stored under an escaped name, component by component, so that every key works, except
// one with a NUL byte (InvalidKey):
//
//	component of the key                        name on disk
//	------------------------------------------  --------------------------------------------------
//	empty ("a//b", "/a", the file of "a/")      .=n
//	"." and ".."                                .=n.  .=n..
//	begins with ".="                            .=n and the component
//	252 bytes or more                           a directory ".=l" and the first 252 bytes, in it
//	                                            the rest, by the same rules
//	the last, when a directory has its name     .=o and the component ("a" beside "a/b")
//
// Directories always have the first name. When "a" exists and "a/b" is written, the file "a" is renamed
// to ".=oa" to make way; readers look for both names, in this order, and cannot miss it. An object
// keeps its ".=o" name until it is deleted.
//
// Names on disk that no key leads to are neither listed nor served: special files, symbolic links that
// leave the bucket, names that are not UTF-8, or longer than 251 bytes, or escaped where no escape is
// needed. A symbolic link to a directory inside its bucket can be followed by name but is not
// listed. Buckets are real directories whose names do not begin with a dot.
//
// # The hidden area
//
// ROOT/.unistore holds what is not (yet) an object. It is no bucket, so no key leads into it:
//
//	lock              held while a process starts
//	tmp/PROCESS/      files being written; PROCESS/lock is held while the process lives, and
//	                  what dead ones left is removed by the next start
//	uploads/BUCKET/ID/  multipart uploads: upload.json, and a file for each part (00001 ...)
//	meta/BUCKET/      metadata of objects whose file system has no room for it
//
// # Writing
//
// A file is written to tmp, gets its metadata, is synced, and is renamed to its place; then the directory
// is synced. Directories are made as needed and removed when a deletion leaves them empty. The
// driver may share its root with other processes that use it; conditions on writes (IfMatch) are then
// atomic only inside one process.
//
// # Metadata
//
// ETag, headers and checksums are in the extended attribute user.unistore, or in a file under meta/ when
// that is impossible. Both carry the size and modification time of the file they describe: once another
// program has changed the file they no longer count, and the ETag is derived from size, modification
// time and inode. It then contains a "-", so that nobody takes it for an MD5.
package local

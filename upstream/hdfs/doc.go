// Package hdfs is the driver of a directory of an HDFS cluster: every directory in its root is a bucket,
// every object a plain file that other programs can read, and files that other programs put there are
// objects.
//
// # Protocol
//
// The driver speaks to NameNodes (internal/namenode) and DataNodes (internal/datanode) itself, with messages
// of its own (internal/wire). The one library there is, github.com/colinmarc/hdfs v2.4.0, gives out bytes
// before their checksums are found wrong, without an error (a flipped bit on a disk is served), knows no
// context, leaves a goroutine behind for every write that fails, and lacks concat and a rename that does not
// replace. Not supported, and refused with clear words: Kerberos, encrypted data transfer, encryption zones,
// erasure-coded files.
//
// # Names
//
// The object with key "a/b.parquet" in bucket "data" is ROOT/data/a/b.parquet. What HDFS cannot hold is
// stored under an escaped name, component by component:
//
//	component of the key                        name in HDFS
//	------------------------------------------  --------------------------------------------------
//	empty ("a//b", "/a", the file of "a/")      .=n
//	".", "..", ".snapshot", ".reserved"         .=n and the component
//	begins with ".=", or contains ":"           .=n and the component, "%" as %25 and ":" as %3A
//	the last, when a directory has its name     .=o and the component so encoded ("a" beside "a/b")
//
// A key with a component whose name would be longer than 255 bytes, with a NUL byte, or with some 950
// directories is InvalidKey. Directories always have the first name. When "a" exists and "a/b" is written, the
// file "a" is renamed to ".=oa" to make way; readers look for both names, in this order. An object keeps its
// ".=o" name until it is deleted. Names that no key leads to are neither listed nor served.
//
// # The hidden area
//
// ROOT/.unistore holds what is not (yet) an object. It is no bucket, so no key leads into it:
//
//	tmp/PROCESS/               files being written; "alive" in it is written anew now and then, and
//	                           other processes remove what has shown no life for two hours
//	uploads/BUCKET/ID/         multipart uploads: a file for each part (00001 ...)
//	uploads/BUCKET/ID.complete/  one that is being completed; see complete.go
//
// # Writing
//
// A file is written to tmp, every block synced to the disks of its pipeline before it is acknowledged (unless
// Config.NoSync); it is closed, gets its metadata, and is renamed to its place. All of it is one step of the NameNode: replacing, creating
// only when there is nothing, and replacing or deleting only a certain version, which is named by its inode. So
// conditions hold between processes too. (One exception: of two processes, one that creates "a" and another
// that makes way for "a/b" at that moment may both succeed.) Directories are made as needed and removed
// when a deletion leaves them empty.
//
// # Reading
//
// A version is read by its inode (/.reserved/.inodes/ID), so that one that takes its name meanwhile is never
// mixed in. A replica that fails, or whose bytes do not match their checksums, is left for the next one; its
// DataNode is asked last for the rest of the body. One that cannot be reached, or gives nothing for 15 s, is
// asked last by all reads for a minute.
//
// # Metadata
//
// ETag, headers and checksums are in the extended attribute user.unistore (and user.unistore.1 ..., should they
// need more than 12 KiB). They carry size, modification time and inode of the file they describe: once
// another program has changed the file they no longer count, and the ETag is derived from those three. It
// then contains a "-", so that nobody takes it for an MD5.
package hdfs

// Package wire holds the messages that Hadoop's NameNode and DataNode speak, as far as the driver needs
// them.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative wire.proto

// Package namenode calls the NameNodes of an HDFS cluster: Hadoop's RPC, version 9, without
// authentication ("SIMPLE": the cluster believes the user's name).
//
// All calls share one connection, many at a time, and each returns when its context ends. A call that got
// no answer, because the connection broke or the NameNode is on standby, is sent again under the
// same id, to the same NameNode or the next one: a NameNode keeps the answers to calls that must not
// happen twice by that id, in its edit log too, so that neither a restart nor a failover makes it act
// twice (HDFS-4979, "retry cache").
package namenode

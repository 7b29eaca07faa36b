package meta

// ObjectsIn is Objects for those records whose upstream and bucket are in's and whose key starts with in's, in
// the order of their keys' bytes; the zero in is all of them. after, when not nil, is the last key that was seen: the
// scan goes on behind it.
func (d *DB) ObjectsIn(in ObjectKey, after *ObjectKey, fn func(ObjectKey, Object, error) error) error {
	prefix, start := []byte(prefixObj), []byte(nil)
	if in != (ObjectKey{}) {
		prefix = in.encode()
	}
	if after != nil {
		start = append(after.encode(), 0)
	}
	return d.e.Scan(prefix, start, func(key, value []byte) error {
		k, err := decodeObjectKey(key)
		if err != nil {
			return nil // nobody can ask for it
		}
		o, err := decodeObject(value)
		return fn(k, o, err)
	})
}

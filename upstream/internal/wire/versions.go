package wire

import (
	"unistore/object"
	"unistore/upstream"
)

// nullVersion names the only version of an object without versions. A service may not know the name.
const nullVersion = "null"

// RefusedNull reports whether a service that was asked for the version of an object without versions refused the question
// itself, so that it may be asked for the object instead. To delete it so, the bucket must be known to have no versions.
func RefusedNull(version string, err error) bool {
	code := upstream.CodeOf(err)
	return err != nil && version == nullVersion && (code == upstream.Invalid || code == upstream.Unsupported)
}

// OnlyVersion is NoVersion when attrs, of the object that was asked for instead (RefusedNull), are those of a version with
// a name: then it is another than the wanted one.
func OnlyVersion(op string, attrs object.Attrs) error {
	if attrs.VersionID != "" && attrs.VersionID != nullVersion {
		return upstream.Errorf(upstream.NoVersion, op, "the store knows no version %q, and the object has versions", nullVersion)
	}
	return nil
}

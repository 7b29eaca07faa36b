//go:build e2e

package s3_test

var versityDeviations = map[string]string{}

var minioDeviations = map[string]string{}

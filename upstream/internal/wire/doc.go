// Package wire is what the drivers of stores that speak HTTP have in common, so that no decision about data
// is left to a vendor's SDK.
//
// A driver hands each call's context an Exchange (Begin). On the way down, Shape puts the request into its final
// form: header lines verbatim and a body of known length, which so never passes through the SDK. Then the SDK, or
// its transport, signs. On the way up, Watch notes the answer as it came and reads error documents, also the ones
// that come under "200 OK", of which it makes a 500. Vendor maps what the Exchange has seen to the codes of
// upstream; Reply checks the answer to a ranged GET; Lister pages through listings by marker.
package wire

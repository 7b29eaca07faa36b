// Package bench measures the gateway side by side with what its clients would use without it: real servers, the real
// binary, in turns on one machine. What it reports are ratios; figures of one side alone say more about the machine.
//
// Writes are measured in two settings: "together", where client, gateway and store share all cores, and "apart", where the store
// has one to itself, as when it is another machine; and with bodies that carry the CRC32 of SDKs, or nothing ("plain").
//
// make bench runs it and leaves bench-results/NAME.json, NAME.svg and NAME-window.svg.
package bench

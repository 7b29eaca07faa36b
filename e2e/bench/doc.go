// Package bench measures the gateway side by side with what its clients would use without it: real servers, the real
// binary, in turns on one machine. What it reports are ratios; figures of one side alone say more about the machine.
//
// make bench runs it and leaves bench-results/NAME.json, NAME.svg and NAME-window.svg.
package bench

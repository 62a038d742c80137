//go:build race

package udpbind_test

const raceDetector = true

package file

import "testing"

// BenchmarkRecord is what a node's record costs, to read and to write.
func BenchmarkRecord(b *testing.B) {
	n := fullNode()
	text, err := render(n)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("op=parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, findings := parse(n.Name, text); len(findings) > 0 || got.PublicKey != n.PublicKey {
				b.Fatal(findings)
			}
		}
	})
	b.Run("op=render", func(b *testing.B) { // which reads it back
		b.ReportAllocs()
		for b.Loop() {
			if _, err := render(n); err != nil {
				b.Fatal(err)
			}
		}
	})
}

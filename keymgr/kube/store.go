package kube

import (
	"maps"
	"reflect"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// store keeps what counts of one kind of objects. A cache.Reflector fills it.
type store[T any] struct {
	// facts takes from an object its key and what counts of it; ok is false for one
	// that does not count, but has a key all the same.
	facts func(object any) (key string, facts T, ok bool)
	// changed is called after each change.
	changed func()
	// order, if it is there, gives facts their place in time, by those of the object
	// before and whether there was one.
	order func(old T, there bool, facts *T, at uint64)

	mu     sync.Mutex
	items  map[string]T
	synced bool   // it was filled once
	at     uint64 // counts changes; 0: the first list, of which nobody knows an order
}

var (
	_ cache.ReflectorStore    = (*store[int])(nil)
	_ cache.TransformingStore = (*store[int])(nil)
)

// Add implements cache.ReflectorStore.
func (s *store[T]) Add(object any) error { return s.Update(object) }

// Update implements cache.ReflectorStore.
func (s *store[T]) Update(object any) error {
	key, facts, ok := s.read(object)
	if !ok {
		return s.remove(key)
	}
	s.mu.Lock()
	old, there := s.items[key]
	if s.order != nil {
		s.at++
		s.order(old, there, &facts, s.at)
	}
	if same := there && reflect.DeepEqual(old, facts); same {
		s.mu.Unlock()
		return nil // such as a Node's heartbeat
	}
	if s.items == nil {
		s.items = make(map[string]T)
	}
	s.items[key] = facts
	s.mu.Unlock()
	s.changed()
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store[T]) Delete(object any) error {
	key, _, _ := s.read(object)
	return s.remove(key)
}

func (s *store[T]) remove(key string) error {
	s.mu.Lock()
	_, there := s.items[key]
	delete(s.items, key)
	s.mu.Unlock()
	if there {
		s.changed()
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *store[T]) Replace(objects []any, _ string) error {
	items := make(map[string]T, len(objects))
	for _, o := range objects {
		if key, facts, ok := s.read(o); ok {
			items[key] = facts
		}
	}
	s.mu.Lock()
	if s.synced {
		s.at++
	}
	for key, facts := range items {
		if s.order != nil {
			old, there := s.items[key]
			s.order(old, there, &facts, s.at)
			items[key] = facts
		}
	}
	s.items, s.synced = items, true
	s.mu.Unlock()
	s.changed()
	return nil
}

// Resync implements cache.ReflectorStore: nothing here waits for it.
func (s *store[T]) Resync() error { return nil }

// Transformer implements cache.TransformingStore, so that a first list that comes
// as a stream is not held whole.
func (s *store[T]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		key, facts, ok := s.read(object)
		return entry[T]{key, facts, ok}, nil
	}
}

// entry is an object that was read already.
type entry[T any] struct {
	key   string
	facts T
	ok    bool
}

func (s *store[T]) read(object any) (string, T, bool) {
	if e, ok := object.(entry[T]); ok {
		return e.key, e.facts, e.ok
	}
	return s.facts(object)
}

func (s *store[T]) all() map[string]T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.items)
}

func (s *store[T]) get(key string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.items[key]
	return t, ok
}

func (s *store[T]) filled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

;;! what = "One part of a component passes another a string of 32 MiB, again and again. The runtime moves it and takes no fuel."
;;! [expect]
;;! upload = "refused"
;;! upload_says = "strings between its parts"
;;! end = "trap"
;;! kind = "module"
;;! says = "strings between its parts"
(component
  (component $part
    (core module $m
      (memory (export "memory") 1024)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "take") (param i32 i32)))
    (core instance $i (instantiate $m))
    (func (export "take") (param "text" string)
      (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
  (component $caller
    (import "take" (func $take (param "text" string)))
    (core module $memory (memory (export "memory") 1024)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 40000000)))
    (core instance $memory (instantiate $memory))
    (core func $lowered (canon lower (func $take) (memory (core memory $memory "memory")) string-encoding=utf8))
    (core module $m
      (import "part" "take" (func $take (param i32 i32)))
      (import "memory" "memory" (memory 1024))
      (func (export "run") (result i32) (local $n i32)
        (loop $again
          (call $take (i32.const 0) (i32.const 33554432))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $n) (i32.const 100))))
        (i32.store (i32.const 40000004) (i32.const 40000100)) (i32.store (i32.const 40000008) (i32.const 4))
        (i32.store (i32.const 40000100) (i32.const 0x6c6c756e))
        (i32.const 40000000)))
    (core instance $i (instantiate $m
      (with "part" (instance (export "take" (func $lowered)))) (with "memory" (instance $memory))))
    (func (export "run") (result (result string (error string)))
      (canon lift (core func $i "run") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc")))))
  (instance $part (instantiate $part))
  (instance $caller (instantiate $caller (with "take" (func $part "take"))))
  (export "run" (func $caller "run")))

;; Runs one kernel: `$attack` is written by the runner from a case's `[dispatch]`.
(component
  (import "aevir:task/compute@1.0.0" (instance $compute
    (type $error' (variant (case "validation" string) (case "out-of-memory") (case "limit" string) (case "timeout")
      (case "device-lost") (case "unavailable")))
    (export "error" (type $error (eq $error')))
    (export "buffer" (type $buffer (sub resource)))
    (export "kernel" (type $kernel (sub resource)))
    (export "batch" (type $batch (sub resource)))
    (type $constant' (record (field "name" string) (field "value" f64)))
    (export "constant" (type $constant (eq $constant')))
    (export "[static]buffer.new" (func (param "size" u64) (result (result (own $buffer) (error $error)))))
    (export "[method]buffer.write" (func (param "self" (borrow $buffer)) (param "offset" u64) (param "bytes" (list u8))
      (result (result (error $error)))))
    (export "[method]buffer.read" (func (param "self" (borrow $buffer)) (param "offset" u64) (param "len" u32)
      (result (result (list u8) (error $error)))))
    (export "[static]kernel.new" (func (param "wgsl" string) (param "entry" string) (param "constants" (list $constant))
      (result (result (own $kernel) (error $error)))))
    (export "[static]batch.new" (func (result (result (own $batch) (error $error)))))
    (export "[method]batch.dispatch" (func (param "self" (borrow $batch)) (param "kernel" (borrow $kernel))
      (param "bindings" (list (borrow $buffer))) (param "x" u32) (param "y" u32) (param "z" u32)
      (result (result (error $error)))))
    (export "[method]batch.submit" (func (param "self" (borrow $batch)) (result (result (error $error)))))))
  (core module $libc
    (memory (export "memory") 512)
    ;; Always the same place, from 1 MiB on: nothing outlives a call.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1048576)))
  (core instance $libc (instantiate $libc))
  (core func $new-buffer (canon lower (func $compute "[static]buffer.new") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $write (canon lower (func $compute "[method]buffer.write") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $read (canon lower (func $compute "[method]buffer.read") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $new-kernel (canon lower (func $compute "[static]kernel.new") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $new-batch (canon lower (func $compute "[static]batch.new") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $dispatch (canon lower (func $compute "[method]batch.dispatch") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $submit (canon lower (func $compute "[method]batch.submit") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 512))
    (import "c" "new-buffer" (func $new-buffer (param i64 i32)))
    (import "c" "write" (func $write (param i32 i64 i32 i32 i32)))
    (import "c" "read" (func $read (param i32 i64 i32 i32)))
    (import "c" "new-kernel" (func $new-kernel (param i32 i32 i32 i32 i32 i32 i32)))
    (import "c" "new-batch" (func $new-batch (param i32)))
    (import "c" "dispatch" (func $dispatch (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "c" "submit" (func $submit (param i32 i32)))
    ;; The answer's text, 8 hex digits in quotes, and the names of errors that carry no text, 16 bytes each.
    (data (i32.const 256) "\"00000000\"")
    (data (i32.const 49152) "validation: ")
    (data (i32.const 512) "validation      out-of-memory   limit           timeout         device-lost     unavailable     ")
    ;; Whether the call whose result stands at 64 failed.
    (func $failed (result i32) (i32.load8_u (i32.const 64)))
    ;; Answers the error at 68: its text if it carries one, and otherwise its name.
    (func $error (local $case i32)
      (local.set $case (i32.load8_u (i32.const 68)))
      (i32.store8 (i32.const 0) (i32.const 1))
      (if (i32.eqz (local.get $case))
        (then
          (memory.copy (i32.const 49164) (i32.load (i32.const 72)) (i32.load (i32.const 76)))
          (i32.store (i32.const 4) (i32.const 49152))
          (i32.store (i32.const 8) (i32.add (i32.const 12) (i32.load (i32.const 76))))
          (return)))
      (if (i32.eq (local.get $case) (i32.const 2))
        (then
          (i32.store (i32.const 4) (i32.load (i32.const 72)))
          (i32.store (i32.const 8) (i32.load (i32.const 76))))
        (else
          (i32.store (i32.const 4) (i32.add (i32.const 512) (i32.shl (local.get $case) (i32.const 4))))
          (i32.store (i32.const 8) (i32.const 16)))))
    ;; Puts a word into the answer.
    (func $answer (param $bits i32) (local $i i32) (local $digit i32)
      (loop $l
        (local.set $digit
          (i32.and (i32.shr_u (local.get $bits) (i32.sub (i32.const 28) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 15)))
        (i32.store8 offset=257 (local.get $i)
          (i32.add (local.get $digit)
            (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8)))))
    ;;BODY
    (func (export "run") (result i32)
      (if (call $attack)
        (then (call $error))
        (else
          (i32.store8 (i32.const 0) (i32.const 0))
          (i32.store (i32.const 4) (i32.const 256))
          (i32.store (i32.const 8) (i32.const 10))))
      (i32.const 0)))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "c" (instance
      (export "new-buffer" (func $new-buffer))
      (export "write" (func $write))
      (export "read" (func $read))
      (export "new-kernel" (func $new-kernel))
      (export "new-batch" (func $new-batch))
      (export "dispatch" (func $dispatch))
      (export "submit" (func $submit))))))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $libc "memory"))))
  (export "run" (func $run)))

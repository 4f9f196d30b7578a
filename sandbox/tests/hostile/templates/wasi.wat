;; A task with folders of WASI.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $t
    (export "descriptor" (type $d (sub resource)))
    (export "directory-entry-stream" (type $e (sub resource)))
    (type $ec' (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $ec (eq $ec')))
    (export "[method]descriptor.read-directory" (func (param "self" (borrow $d)) (result (result (own $e) (error $ec)))))
    (type $pf' (flags "symlink-follow")) (export "path-flags" (type $pf (eq $pf')))
    (type $of' (flags "create" "directory" "exclusive" "truncate")) (export "open-flags" (type $of (eq $of')))
    (type $df' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory")) (export "descriptor-flags" (type $df (eq $df')))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path-flags" $pf) (param "path" string) (param "open-flags" $of) (param "flags" $df) (result (result (own $d) (error $ec)))))
  ))
  (alias export $t "descriptor" (type $d))
  (import "wasi:filesystem/preopens@0.2.0" (instance $p
    (alias outer 1 $d (type $d'))
    (export "descriptor" (type $d2 (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d2) string)))))))
  (core module $libc (memory (export "memory") 16) (global $b (mut i32) (i32.const 65536)) (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.set $b (i32.add (global.get $b) (i32.const 64))) (global.get $b)))
  (core instance $libc (instantiate $libc))
  (core func $rd (canon lower (func $t "[method]descriptor.read-directory") (memory (core memory $libc "memory"))))
  (core func $open (canon lower (func $t "[method]descriptor.open-at") (memory (core memory $libc "memory"))))
  (core func $dirs (canon lower (func $p "get-directories") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 16))
    (import "s" "rd" (func $rd (param i32 i32)))
    (import "s" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "s" "dirs" (func $dirs (param i32)))
    ;; "ok" at 64, "inputs" at 80, "outputs/x" at 96.
    (data (i32.const 64) "\"ok\"") (data (i32.const 80) "inputs") (data (i32.const 96) "outputs/x")
    (func $ok (result i32)
      (i32.store8 (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 64)) (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0))
    (func $must-work (if (i32.load8_u (i32.const 16)) (then unreachable)))
    (func $must-fail (if (i32.eqz (i32.load8_u (i32.const 16))) (then unreachable)))
    ;; The root, and the folder of inputs.
    (func $root (result i32) (call $dirs (i32.const 16)) (i32.load (i32.load (i32.const 16))))
    (func $inputs (result i32)
      (call $open (call $root) (i32.const 0) (i32.const 80) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 16))
      (call $must-work) (i32.load (i32.const 20)))
    ;;BODY
  )
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "s" (instance (export "rd" (func $rd)) (export "open" (func $open)) (export "dirs" (func $dirs))))))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $libc "memory"))))
  (export "run" (func $run)))
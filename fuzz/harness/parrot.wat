;; Answers with the bytes in its input. After a `#`, the input has pairs of lower-case hexadecimal digits up to the end of
;; the string. The component writes these bytes to 0x10000, and returns the address in the first four of them. So the
;; input determines every byte that the host reads: discriminants, pointers, lengths and texts.
;;
;; Memory: page 0 is never written and has only zeros, page 1 has the answer, and pages 2 and 3 have the input.
(module
  (memory (export "memory") 4)

  ;; The host allocates only the input.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x20000)

  ;; Returns the value of a digit: its low four bits, plus 9 for a letter.
  (func $digit (param $at i32) (result i32)
    (local $byte i32)
    (local.set $byte (i32.load8_u (local.get $at)))
    (i32.add
      (i32.and (local.get $byte) (i32.const 15))
      (i32.mul (i32.shr_u (local.get $byte) (i32.const 6)) (i32.const 9))))

  ;; Without a `#`, or without the end of the string after it, this reads beyond the memory and traps.
  (func (export "portcullis:detection/rule@1.0.0#evaluate") (param $at i32) (param $length i32) (result i32)
    (local $answer i32)
    (local.set $answer (i32.const 0x10000))
    (loop $skip
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $skip (i32.ne (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 35))))
    (block $end
      (loop $pair
        (br_if $end (i32.eq (i32.load8_u (local.get $at)) (i32.const 34)))
        (i32.store8 (local.get $answer)
          (i32.or
            (i32.shl (call $digit (local.get $at)) (i32.const 4))
            (call $digit (i32.add (local.get $at) (i32.const 1)))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (local.set $answer (i32.add (local.get $answer) (i32.const 1)))
        (br $pair)))
    (i32.load (i32.const 0x10000))))

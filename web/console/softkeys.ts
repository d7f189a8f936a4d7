import type RFB from '@novnc/novnc'
import { backspaceKey, press, typeText } from './typing'

// filler keeps something in the field, so that a phone's keyboard has something to delete and reports it.
const filler = '\u00a0'

// watchSoftKeys sends what a phone's on-screen keyboard writes into field. Such keyboards send no usable key events.
export function watchSoftKeys(field: HTMLTextAreaElement, rfb: () => RFB | undefined): void {
  field.value = filler
  field.addEventListener('input', (event) => {
    if (!(event instanceof InputEvent) || event.isComposing) return
    const viewer = rfb()
    if (viewer) {
      if (event.inputType.startsWith('delete')) press(viewer, backspaceKey)
      else void typeText(viewer, event.inputType === 'insertLineBreak' ? '\n' : field.value.replace(filler, ''))
    }
    field.value = filler
  })
  field.addEventListener('compositionend', (event) => {
    const viewer = rfb()
    if (viewer) void typeText(viewer, event.data)
    field.value = filler
  })
}

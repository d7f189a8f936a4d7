import {
  ElAlert, ElButton, ElCheckbox, ElCheckboxGroup, ElCollapse, ElCollapseItem, ElDialog, ElDrawer, ElDropdown, ElDropdownItem, ElDropdownMenu, ElForm, ElFormItem,
  ElIcon, ElInput, ElInputNumber, ElOption, ElPagination, ElProgress, ElRadioButton, ElRadioGroup, ElSelect, ElSkeleton, ElSwitch,
  ElTabPane, ElTabs, ElTooltip,
} from 'element-plus'
import type { App } from 'vue'
import 'element-plus/dist/index.css'
import 'element-plus/theme-chalk/dark/css-vars.css'

// What templates use of Element Plus. Only these get into the bundle.
const used = [
  ElAlert, ElButton, ElCheckbox, ElCheckboxGroup, ElCollapse, ElCollapseItem, ElDialog, ElDrawer, ElDropdown, ElDropdownItem, ElDropdownMenu, ElForm, ElFormItem,
  ElIcon, ElInput, ElInputNumber, ElOption, ElPagination, ElProgress, ElRadioButton, ElRadioGroup, ElSelect, ElSkeleton, ElSwitch,
  ElTabPane, ElTabs, ElTooltip,
]

export function registerElements(app: App): void {
  for (const component of used) app.component(component.name ?? '', component)
}

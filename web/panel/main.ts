import { createApp } from 'vue'
import App from './App.vue'
import { registerElements } from './elements'
import './style.css'
import './theme'
import { router } from './router'
import { i18n } from './texts'

const app = createApp(App).use(i18n).use(router)
registerElements(app)
app.mount('#app')

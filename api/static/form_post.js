// Sends the answer of the authorization endpoint on to the application, without a click.
"use strict";
document.forms[0].submit();

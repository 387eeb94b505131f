package controller

import "k8s.io/apimachinery/pkg/api/meta"

var findCondition = meta.FindStatusCondition

defmodule Palladion.RetryPolicies.NoneTest do
  use ExUnit.Case, async: true

  doctest Palladion.RetryPolicies.None
end

defmodule Palladion.SecretTest do
  use ExUnit.Case, async: true

  alias Palladion.Secret

  @password "correct horse battery"

  doctest Secret

  test "shows nothing in inspect and ~p" do
    secret = Secret.wrap(@password)
    assert inspect(secret) == "#Palladion.Secret<redacted>"
    assert inspect(%{deep: [secret]}) =~ "#Palladion.Secret<redacted>"
    refute to_string(:io_lib.format("~p", [secret])) =~ "horse"
    refute inspect(secret, structs: false) =~ "horse"
  end

  test "is not a text" do
    secret = Secret.wrap(@password)
    assert_raise Protocol.UndefinedError, fn -> to_string(secret) end
    refute :erlang.term_to_binary(secret) =~ "horse"
  end

  test "wraps once" do
    secret = Secret.wrap(@password)
    assert Secret.wrap(secret) == secret
  end

  # What is raised must be without the value, and so must be the stack trace.
  test "what goes wrong doesn't show the value" do
    for {value, new} <- [
          {{:bad, @password}, &Palladion.Native.secret_new/1},
          {String.to_charlist(@password), &Palladion.Native.secret_new/1},
          {@password, fn value -> raise "bad #{value}" end},
          {@password, fn value -> throw(value) end},
          {@password, fn value -> exit(value) end},
          {@password, fn value -> {:error, {:panic, %{detail: value}}} end},
          {@password, fn "another" -> make_ref() end},
          {@password, Function.capture(Palladion.NoSuchModule, :secret_new, 1)}
        ] do
      {error, stacktrace} =
        try do
          Secret.wrap(value, new)
        rescue
          error -> {error, __STACKTRACE__}
        end

      assert %ArgumentError{} = error
      text = Exception.format(:error, error, stacktrace) <> inspect(stacktrace)
      refute text =~ "horse"
      refute text =~ inspect(String.to_charlist(@password), charlists: :as_lists)
    end
  end
end

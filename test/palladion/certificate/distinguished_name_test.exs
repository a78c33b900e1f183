defmodule Palladion.Certificate.DistinguishedNameTest do
  use ExUnit.Case, async: true

  alias Palladion.Certificate.DistinguishedName

  @common_name {2, 5, 4, 3}

  defp format(value),
    do:
      DistinguishedName.format({:rdnSequence, [[{:AttributeTypeAndValue, @common_name, value}]]})

  test "strings of every kind, as DER" do
    for {der, text} <- [
          {<<12, 4, "Zoë"::utf8>>, "CN=Zoë"},
          {<<19, 3, "Zoe">>, "CN=Zoe"},
          {<<20, 3, "Zo", 0xEB>>, "CN=Zoë"},
          {<<30, 6, "Zoë"::utf16>>, "CN=Zoë"},
          {<<28, 12, "Zoë"::utf32>>, "CN=Zoë"},
          {<<12, 0x81, 3, "Zoe">>, "CN=Zoe"},
          {<<4, 2, 1, 2>>, "CN=#04020102"},
          {<<12, 9, "short">>, "CN=#0c0973686f7274"}
        ] do
      assert format(der) == text
    end
  end

  test "the same, decoded, as OTP 28 has them" do
    for value <- [
          {:utf8String, "Zoë"},
          {:teletexString, [?Z, ?o, 0xEB]},
          {:bmpString, [?Z, ?o, {0, 0, 0, 0xEB}]},
          {:universalString, [{0, 0, 0, ?Z}, ?o, 0xEB]},
          {:asn1_OPENTYPE, <<12, 4, "Zoë"::utf8>>}
        ] do
      assert format(value) == "CN=Zoë"
    end

    assert format({:printableString, ~c"Zoe"}) == "CN=Zoe"
    assert format(~c"DE") == "CN=DE"
  end

  test "the most particular part first; those of one step stand together" do
    attribute = &{:AttributeTypeAndValue, &1, <<12, byte_size(&2), &2::binary>>}
    country = attribute.({2, 5, 4, 6}, "GR")
    name = attribute.(@common_name, "a,b")
    unknown = attribute.({1, 2, 3}, "x")

    assert DistinguishedName.format({:rdnSequence, [[country], [name, unknown]]}) ==
             ~S(CN=a\,b+1.2.3=x,C=GR)
  end
end
